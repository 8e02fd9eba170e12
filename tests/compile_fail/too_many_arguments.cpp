// A call with an argument too many.
// expect-error: ray: wrong number of arguments for this task or method
// expect-error: Wanted<2>, ray::detail::Given<3>
#include <ray/ray.hpp>

int add(int a, int b) { return a + b; }

void call() {
#ifdef TWIN
  ray::remote<add>(1, 2);
#else
  ray::remote<add>(1, 2, 3);
#endif
}
