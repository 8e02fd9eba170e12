// A view of another kind than the parameter's names somebody else's data all the same.
// expect-error: ray: argument 1 is a view or an array, and what it names may be gone
#include <ray/ray.hpp>

#include <span>
#include <string>
#include <string_view>

int size(std::span<const char> text) { return static_cast<int>(text.size()); }

void call(std::string_view text) {
#ifdef TWIN
  ray::remote<size>(std::string(text));
#else
  ray::remote<size>(text);
#endif
}
