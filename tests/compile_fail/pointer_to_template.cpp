// A callable whose parameters are not known takes no pointers either.
// expect-error: ray: argument 1 is a pointer, an array or a span, and what it names may be gone
// expect-error: can_pass<ray::detail::Argument<1>, ray::detail::From<int
#include <ray/ray.hpp>

constexpr auto generic = [](auto x) { return x; };

void call() {
  int value = 1;
#ifdef TWIN
  ray::remote<generic>(value);
#else
  ray::remote<generic>(&value);
#endif
}
