// An object owns its values.
// expect-error: ray: put of a pointer, std::string_view or std::span, whose target may be gone
#include <ray/ray.hpp>

#include <span>
#include <vector>

void call(std::span<const int> values) {
#ifdef TWIN
  ray::put(std::vector<int>(values.begin(), values.end()));
#else
  ray::put(values);
#endif
}
