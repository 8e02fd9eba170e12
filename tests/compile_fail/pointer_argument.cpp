// A pointer would point into another task's life, or another process.
// expect-error: ray: this parameter is a pointer, which cannot be passed to a task
// expect-error: CheckArgument<2
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
