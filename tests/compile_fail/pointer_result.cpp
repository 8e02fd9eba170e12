// A pointer as a result would name something that may be gone.
// expect-error: ray: a task's result cannot be a pointer, std::string_view or std::span
#include <ray/ray.hpp>

int value();
const int* pointer();

void call() {
#ifdef TWIN
  ray::remote<value>();
#else
  ray::remote<pointer>();
#endif
}
