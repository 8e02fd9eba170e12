// An object that nobody has a reference to is gone.
// expect-error: ray: without a reference the object is gone at once
// flags: -Werror=unused-result
#include <ray/ray.hpp>

void call() {
#ifdef TWIN
  const auto ref = ray::put(1);
#else
  ray::put(1);
#endif
}
