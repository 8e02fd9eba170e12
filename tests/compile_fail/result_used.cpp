// A refused call still has the type it would have: nothing else is complained of.
// expect-error: ray: argument 1 cannot be converted to the parameter's type
#include <ray/ray.hpp>

#include <string>

int twice(int x) { return 2 * x; }

int call() {
#ifdef TWIN
  const ray::ObjectRef<int> ref = ray::remote<twice>(1);
#else
  const ray::ObjectRef<int> ref = ray::remote<twice>(std::string("one"));
#endif
  return ray::get(ref);
}
