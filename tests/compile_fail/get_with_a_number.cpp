// A timeout has a unit.
// expect-error: ray: get with a number as timeout: say its unit
#include <ray/ray.hpp>

void call(const ray::ObjectRef<int>& ref) {
#ifdef TWIN
  ray::get(ref, std::chrono::seconds(5));
#else
  ray::get(ref, 5);
#endif
}
