// An object owns its value.
// expect-error: ray: put of a pointer, std::string_view or std::span, whose target may be gone
#include <ray/ray.hpp>

#include <string>
#include <string_view>

void call(std::string_view text) {
#ifdef TWIN
  ray::put(std::string(text));
#else
  ray::put(text);
#endif
}
