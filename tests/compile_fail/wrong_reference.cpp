// A reference to an object of a type that does not convert to the parameter.
// expect-error: ray: argument 1 is an ObjectRef whose object cannot be converted to the
// expect-error: ray::detail::From<const ray::ObjectRef<std::
// expect-error: ray::detail::To<int>
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
