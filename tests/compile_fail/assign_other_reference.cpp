// References to different types are different types.
// expect-error: error
#include <ray/ray.hpp>

#include <string>

void call(ray::ObjectRef<int>& a, const ray::ObjectRef<int>& b,
          const ray::ObjectRef<std::string>& c) {
#ifdef TWIN
  a = b;
#else
  a = c;
#endif
  (void)b;
  (void)c;
}
