// Saving the state does not change it.
// expect-error: ray: an actor's checkpoint() must be const and return the state to save
#include <ray/ray.hpp>

struct Counter {
  int add(int x) { return sum += x; }
#ifdef TWIN
  int checkpoint() const { return sum; }
#else
  int checkpoint() { return sum; }
#endif
  void restore(int saved) { sum = saved; }
  int sum = 0;
};

void call() { ray::remote<&Counter::add>(ray::actor<Counter>(), 1); }
