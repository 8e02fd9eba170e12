// The reference of a task that returns nothing has no value to pass.
// expect-error: ray: an ObjectRef<void> has no value that could be passed
// expect-error: CheckArgument<1
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
