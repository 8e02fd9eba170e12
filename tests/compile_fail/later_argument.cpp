// A message names the position of the first six arguments; of later ones the types' line does.
// expect-error: ray: a later argument cannot be converted to the parameter's type
// expect-error: can_pass<ray::detail::Argument<7>, ray::detail::From<std::
#include <ray/ray.hpp>

#include <string>

int last(int, int, int, int, int, int, int g) { return g; }

void call() {
#ifdef TWIN
  ray::remote<last>(1, 2, 3, 4, 5, 6, 7);
#else
  ray::remote<last>(1, 2, 3, 4, 5, 6, std::string("seven"));
#endif
}
