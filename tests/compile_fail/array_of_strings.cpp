// An array holds numbers.
// expect-error: ray:
#include <ray/ray.hpp>

#include <string>

void call() {
#ifdef TWIN
  ray::Array<double> array(3);
#else
  ray::Array<std::string> array(3);
#endif
}
