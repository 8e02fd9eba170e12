// wait() takes a range of references.
// expect-error: ray:
#include <ray/ray.hpp>

#include <vector>

void call() {
#ifdef TWIN
  ray::wait(std::vector{ray::put(1), ray::put(2)});
#else
  ray::wait(std::vector{1, 2});
#endif
}
