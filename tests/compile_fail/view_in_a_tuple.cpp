// Each element of a tuple is an object of its own.
// expect-error: ray: a task's result cannot be a pointer, std::string_view or std::span
#include <ray/ray.hpp>

#include <string>
#include <string_view>
#include <tuple>

std::tuple<int, std::string> good();
std::tuple<int, std::string_view> both();

void call() {
#ifdef TWIN
  ray::remote<good>();
#else
  ray::remote<both>();
#endif
}
