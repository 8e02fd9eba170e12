// The task of a stream that nobody reads is cancelled.
// expect-error: nodiscard
// flags: -Werror=unused-result
#include <ray/ray.hpp>

ray::Generator<int> one() { co_yield 1; }

void call() {
#ifdef TWIN
  auto stream = ray::remote<one>();
#else
  ray::remote<one>();
#endif
}
