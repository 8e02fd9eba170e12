// A method is called on an actor, not on an object of one's own.
// expect-error: ray:
#include <ray/ray.hpp>

struct Cat {
  int legs() { return 4; }
};

void call() {
#ifdef TWIN
  auto cat = ray::actor<Cat>();
  ray::remote<&Cat::legs>(cat);
#else
  Cat cat;
  ray::remote<&Cat::legs>(cat);
#endif
}
