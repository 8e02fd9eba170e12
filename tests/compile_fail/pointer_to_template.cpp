// A callable whose parameters are not known takes no pointers either.
// expect-error: ray: this argument is a pointer, which cannot be passed to a task
// expect-error: CheckPassable<1
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
