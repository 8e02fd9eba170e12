// The reference of a task that returns nothing has no value to pass.
// expect-error: ray: argument 1 is an ObjectRef<void>, which has no value that could be passed
// expect-error: Argument<1>
#include <ray/ray.hpp>

int twice(int x) { return 2 * x; }

void call(const ray::ObjectRef<int>& good, const ray::ObjectRef<void>& bad) {
#ifdef TWIN
  ray::remote<twice>(good);
#else
  ray::remote<twice>(bad);
#endif
  (void)good;
  (void)bad;
}
