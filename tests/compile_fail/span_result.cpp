// The container itself is the result, not a view of it.
// expect-error: ray: a task's result cannot be a pointer, std::string_view or std::span
#include <ray/ray.hpp>

#include <span>
#include <vector>

std::vector<int> values();
std::span<const int> view();

void call() {
#ifdef TWIN
  ray::remote<values>();
#else
  ray::remote<view>();
#endif
}
