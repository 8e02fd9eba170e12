// A handle takes methods of its own class.
// expect-error: ray:
#include <ray/ray.hpp>

struct Cat {
  int legs() { return 4; }
};
struct Bird {
  int legs() { return 2; }
};

void call(const ray::ActorHandle<Cat>& cat) {
#ifdef TWIN
  ray::remote<&Cat::legs>(cat);
#else
  ray::remote<&Bird::legs>(cat);
#endif
}
