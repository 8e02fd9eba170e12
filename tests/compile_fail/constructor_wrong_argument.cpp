// The arguments of an actor's constructor are checked where the actor is made.
// expect-error: ray: the actor's class cannot be constructed from these arguments
#include <ray/ray.hpp>

#include <string>

struct Counter {
  explicit Counter(int start) : value(start) {}
  int value;
};

void call() {
#ifdef TWIN
  ray::actor<Counter>(1);
#else
  ray::actor<Counter>(std::string("one"));
#endif
}
