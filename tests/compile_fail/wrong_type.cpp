// An argument that does not convert to its parameter; the message names the position and both.
// expect-error: ray: argument 2 cannot be converted to the parameter's type
// expect-error: CheckArgument<2
// expect-error: can_pass<ray::detail::Argument<2>, ray::detail::From<std::
// expect-error: ray::detail::To<int>
#include <ray/ray.hpp>

#include <string>

int add(int a, int b) { return a + b; }

void call() {
#ifdef TWIN
  ray::remote<add>(1, 2);
#else
  ray::remote<add>(1, std::string("two"));
#endif
}
