// An object is a value.
// expect-error: ray:
#include <ray/ray.hpp>

void call() {
  int value = 1;
#ifdef TWIN
  ray::put(value);
#else
  ray::put(&value);
#endif
}
