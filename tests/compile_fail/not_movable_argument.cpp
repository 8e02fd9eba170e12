// A value must be moved into the task.
// expect-error: ray: argument 1 cannot be converted to the parameter's type
// expect-error: Argument<1>
#include <ray/ray.hpp>

#include <mutex>

struct Fixed {
  std::mutex mutex;
};
struct Free {
  int value = 0;
};
int takes_fixed(const Fixed&) { return 1; }
int takes_free(const Free&) { return 1; }

void call() {
#ifdef TWIN
  Free value;
  ray::remote<takes_free>(value);
#else
  Fixed value;
  ray::remote<takes_fixed>(value);
#endif
}
