// An array would be kept as a pointer to it.
// expect-error: ray: argument 2 is a pointer, an array or a span, and what it names may be gone
#include <ray/ray.hpp>

#include <array>
#include <span>

struct Sum {
  Sum(int start, std::span<const int> values) : total(start + values[0]) {}
  int total;
};

void call() {
#ifdef TWIN
  ray::actor<Sum>(1, std::array<int, 3>{});
#else
  int values[3] = {};
  ray::actor<Sum>(1, values);
#endif
}
