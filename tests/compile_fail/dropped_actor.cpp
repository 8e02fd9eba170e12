// An actor whose handle nobody keeps ends before anybody can call it.
// expect-error: ray: without a handle the actor ends at once
// flags: -Werror=unused-result
#include <ray/ray.hpp>

struct Counter {};

void call() {
#ifdef TWIN
  const auto counter = ray::actor<Counter>();
#else
  ray::actor<Counter>();
#endif
}
