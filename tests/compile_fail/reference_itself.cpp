// A parameter that is a reference itself takes no reference to another type.
// expect-error: ray: this parameter is an ObjectRef: pass an ObjectRef of the same type
// expect-error: CheckArgument<1
#include <ray/ray.hpp>

#include <string>

bool is_ready(ray::ObjectRef<int> ref) { return ref.is_ready(); }

void call(const ray::ObjectRef<int>& good, const ray::ObjectRef<std::string>& bad) {
#ifdef TWIN
  ray::remote<is_ready>(good);
#else
  ray::remote<is_ready>(bad);
#endif
  (void)good;
  (void)bad;
}
