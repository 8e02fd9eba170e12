// Options are half a call.
// expect-error: ray: options(…) calls nothing yet: add (arguments…)
// flags: -Werror=unused-result
#include <ray/ray.hpp>

int same(int x) { return x; }

void call() {
#ifdef TWIN
  ray::remote<same>.options({.num_cpus = 2})(1);
#else
  ray::remote<same>.options({.num_cpus = 2});
#endif
}
