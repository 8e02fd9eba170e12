// An array would be kept as a pointer to it; a std::array or std::vector can be passed.
// expect-error: ray: argument 1 is a view or an array, and what it names may be gone
#include <ray/ray.hpp>

#include <array>
#include <span>

int size(std::span<const int> values) { return static_cast<int>(values.size()); }

void call() {
#ifdef TWIN
  ray::remote<size>(std::array<int, 3>{});
#else
  int values[3] = {};
  ray::remote<size>(values);
#endif
}
