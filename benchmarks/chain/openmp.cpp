// Tasks with depend(out), which wait for the writer before them.

#include "chain/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, chain::kWorkload, "openmp");
  const std::size_t n = program.n();
  return program.run(n, static_cast<double>(n), [&] {
    int x = 0;
#pragma omp parallel num_threads(bench::kWorkers + 1)
#pragma omp single
    for (std::size_t i = 0; i < n; ++i) {
#pragma omp task depend(out : x) shared(x)
      x = chain::inc(x);
    }
    return static_cast<std::uint64_t>(x);
  });
}
