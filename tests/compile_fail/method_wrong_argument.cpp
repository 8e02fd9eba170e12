// The arguments of methods are checked like those of functions.
// expect-error: ray: argument 1 cannot be converted to the parameter's type
// expect-error: can_pass<ray::detail::Argument<1>, ray::detail::From<std::
// expect-error: ray::detail::To<int>
#include <ray/ray.hpp>

#include <string>

struct Counter {
  int add(int n) { return n; }
};

void call(const ray::ActorHandle<Counter>& counter) {
#ifdef TWIN
  ray::remote<&Counter::add>(counter, 1);
#else
  ray::remote<&Counter::add>(counter, std::string("one"));
#endif
}
