// The same n calls through a volatile function pointer, so that they remain calls.

#include "fire/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fire::kWorkload, "serial");
  const std::size_t n = program.n();
  void (*volatile call)() = fire::work;
  return program.run(n, static_cast<double>(n), [&] {
    for (std::size_t i = 0; i < n; ++i) call();
    return fire::take_count();
  });
}
