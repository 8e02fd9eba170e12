// A value that cannot be copied is given away with std::move.
// expect-error: ray: this argument cannot be converted to the parameter's type
// expect-error: CheckArgument<1
#include <ray/ray.hpp>

#include <memory>
#include <utility>

int read(const std::unique_ptr<int>& p) { return *p; }

void call() {
  auto mine = std::make_unique<int>(1);
#ifdef TWIN
  ray::remote<read>(std::move(mine));
#else
  ray::remote<read>(mine);
#endif
}
