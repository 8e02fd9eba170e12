// A value that cannot be copied is given away with std::move.
// expect-error: ray: argument 1 cannot be copied: give it away with std::move
// expect-error: Argument<1>
#include <ray/ray.hpp>

#include <memory>
#include <utility>

int value_of(const std::unique_ptr<int>& p) { return *p; }

void call() {
  auto mine = std::make_unique<int>(1);
#ifdef TWIN
  ray::remote<value_of>(std::move(mine));
#else
  ray::remote<value_of>(mine);
#endif
}
