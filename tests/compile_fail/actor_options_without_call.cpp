// Options of an actor are half of its making.
// expect-error: ray: options(…) makes no actor yet: add (arguments…)
// flags: -Werror=unused-result
#include <ray/ray.hpp>

struct Counter {};

void call() {
#ifdef TWIN
  ray::actor<Counter>.options({.name = "counter"})();
#else
  ray::actor<Counter>.options({.name = "counter"});
#endif
}
