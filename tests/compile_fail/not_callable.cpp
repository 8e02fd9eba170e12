// Only what can be called is a task.
// expect-error: ray:
#include <ray/ray.hpp>

int number() { return 42; }

void call() {
#ifdef TWIN
  ray::remote<number>();
#else
  ray::remote<42>();
#endif
}
