// The text itself is the result, not a view of it.
// expect-error: ray: a task's result cannot be a pointer, std::string_view or std::span
#include <ray/ray.hpp>

#include <string>
#include <string_view>

std::string text();
std::string_view view();

void call() {
#ifdef TWIN
  ray::remote<text>();
#else
  ray::remote<view>();
#endif
}
