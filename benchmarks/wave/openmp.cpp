// Tasks with depend clauses.

#include "wave/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, wave::kWorkload, "openmp");
  const std::size_t n = program.n();
  return program.run(wave::expected(n), 1, [&] {
    wave::Grid grid(n);
#pragma omp parallel num_threads(bench::kWorkers + 1)
#pragma omp single
    for (std::size_t i = 1; i <= n; ++i) {
      for (std::size_t j = 1; j <= n; ++j) {
        std::uint64_t* const up = &grid.at(i - 1, j);
        std::uint64_t* const left = &grid.at(i, j - 1);
        std::uint64_t* const here = &grid.at(i, j);
#pragma omp task depend(in : *up, *left) depend(out : *here) firstprivate(up, left, here)
        *here = wave::cell(*up, *left);
      }
    }
    return grid.last();
  });
}
