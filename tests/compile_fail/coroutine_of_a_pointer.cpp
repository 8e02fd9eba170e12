// What a coroutine gives is an object too.
// expect-error: ray: a task's result cannot be a pointer, std::string_view or std::span
#include <ray/ray.hpp>

ray::Task<int> value();
ray::Task<int*> pointer();

void call() {
#ifdef TWIN
  ray::remote<value>();
#else
  ray::remote<pointer>();
#endif
}
