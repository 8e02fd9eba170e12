// get() takes references.
// expect-error: no matching function
#include <ray/ray.hpp>

void call() {
#ifdef TWIN
  ray::get(ray::put(5));
#else
  ray::get(5);
#endif
}
