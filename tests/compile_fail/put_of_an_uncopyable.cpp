// What cannot be copied is given away.
// expect-error: ray: put of a value that cannot be copied: give it away with std::move
#include <ray/ray.hpp>

#include <memory>

auto call() {
  auto value = std::make_unique<int>(1);
#ifdef TWIN
  return ray::put(std::move(value));
#else
  return ray::put(value);
#endif
}
