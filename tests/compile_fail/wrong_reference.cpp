// A reference to an object of a type that does not convert to the parameter.
// expect-error: ray: the object behind this ObjectRef cannot be converted to the
// expect-error: CheckArgument<1
#include <ray/ray.hpp>

#include <string>

int twice(int x) { return 2 * x; }

void call(const ray::ObjectRef<int>& good, const ray::ObjectRef<std::string>& bad) {
#ifdef TWIN
  ray::remote<twice>(good);
#else
  ray::remote<twice>(bad);
#endif
  (void)good;
  (void)bad;
}
