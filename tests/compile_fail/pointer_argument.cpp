// A pointer would point into another task's life, or another process.
// expect-error: ray: argument 2 goes to a parameter that is a pointer, which cannot be passed
// expect-error: Argument<2>, ray::detail::From<int
#include <ray/ray.hpp>

int first(int n, const int* values) { return n + *values; }
int second(int n, int value) { return n + value; }

void call() {
  int value = 1;
#ifdef TWIN
  ray::remote<second>(1, value);
#else
  ray::remote<first>(1, &value);
#endif
}
