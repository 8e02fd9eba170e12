// So is each item of a stream.
// expect-error: ray: a task's result cannot be a pointer, std::string_view or std::span
#include <ray/ray.hpp>

#include <span>
#include <vector>

ray::Generator<std::vector<int>> values();
ray::Generator<std::span<const int>> views();

void call() {
#ifdef TWIN
  ray::remote<values>();
#else
  ray::remote<views>();
#endif
}
