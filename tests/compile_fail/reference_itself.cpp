// A parameter that is a reference itself takes no reference to another type.
// expect-error: ray: argument 1 goes to a parameter that is an ObjectRef: pass an ObjectRef of the
// same expect-error: ray::detail::From<const ray::ObjectRef<std:: expect-error:
// ray::detail::To<ray::ObjectRef<int>
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
