// What a span views may be gone when the task runs; the container itself can be passed.
// expect-error: ray: argument 1 is a view or an array, and what it names may be gone
// expect-error: Argument<1>, ray::detail::From<std::span<const int
#include <ray/ray.hpp>

#include <span>
#include <vector>

int size(std::span<const int> values) { return static_cast<int>(values.size()); }

void call(const std::vector<int>& values) {
#ifdef TWIN
  ray::remote<size>(values);
#else
  ray::remote<size>(std::span<const int>(values));
#endif
}
