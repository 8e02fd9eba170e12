// An actor keeps the arguments of its constructor, so they are values.
// expect-error: ray: argument 1 is a pointer, an array or a span, and what it names may be gone
#include <ray/ray.hpp>

#include <span>
#include <vector>

struct Sum {
  explicit Sum(std::span<const int> values) : size(values.size()) {}
  std::size_t size;
};

void call(const std::vector<int>& values) {
#ifdef TWIN
  ray::actor<Sum>(values);
#else
  ray::actor<Sum>(std::span<const int>(values));
#endif
}
