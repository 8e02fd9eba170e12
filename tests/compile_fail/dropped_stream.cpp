// The task of a stream that nobody reads is cancelled.
// expect-error: ray: a stream that nobody keeps cancels its task
#include <ray/ray.hpp>

ray::Generator<int> one() { co_yield 1; }

void call() {
#ifdef TWIN
  auto stream = ray::remote<one>();
#else
  ray::remote<one>();
#endif
}
