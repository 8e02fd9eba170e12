// What a task needs goes in as an argument: a lambda with captures has no name to call it by.
// expect-error: error
#include <ray/ray.hpp>

void call() {
#ifdef TWIN
  constexpr auto function = [](int n) { return n + 1; };
  ray::remote<function>(1);
#else
  int captured = 1;
  auto function = [captured](int n) { return n + captured; };
  ray::remote<function>(1);
#endif
}
