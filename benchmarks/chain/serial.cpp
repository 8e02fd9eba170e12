// The same n calls through a volatile function pointer, so that they remain calls.

#include "chain/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, chain::kWorkload, "serial");
  const std::size_t n = program.n();
  int (*volatile call)(int) = chain::inc;
  return program.run(n, static_cast<double>(n), [&] {
    int x = 0;
    for (std::size_t i = 0; i < n; ++i) x = call(x);
    return static_cast<std::uint64_t>(x);
  });
}
