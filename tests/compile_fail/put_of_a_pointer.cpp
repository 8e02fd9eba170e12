// An object is a value.
// expect-error: ray: put of a pointer, std::string_view or std::span, whose target may be gone
#include <ray/ray.hpp>

void call() {
  int value = 1;
#ifdef TWIN
  ray::put(value);
#else
  ray::put(&value);
#endif
}
