// A callable whose parameters are not known takes no spans either.
// expect-error: ray: argument 1 is a pointer, an array or a span, and what it names may be gone
#include <ray/ray.hpp>

#include <span>
#include <vector>

constexpr auto generic = [](const auto& x) { return x.size(); };

void call(const std::vector<int>& values) {
#ifdef TWIN
  ray::remote<generic>(values);
#else
  ray::remote<generic>(std::span<const int>(values));
#endif
}
