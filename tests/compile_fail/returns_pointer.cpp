// A result outlives the task: it cannot be a pointer to something of the task's.
// expect-error: ray:
#include <ray/ray.hpp>

int* pointer() { return nullptr; }
int value() { return 1; }

void call() {
#ifdef TWIN
  ray::remote<value>();
#else
  ray::remote<pointer>();
#endif
}
