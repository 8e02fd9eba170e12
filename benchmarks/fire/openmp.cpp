// Tasks of one thread of a team of three; the end of `single` waits for them. libgomp runs a
// task at once when too many are pending: it is faster than a pool that must keep them.

#include "fire/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fire::kWorkload, "openmp");
  const std::size_t n = program.n();
  return program.run(n, static_cast<double>(n), [&] {
#pragma omp parallel num_threads(bench::kWorkers + 1)
#pragma omp single
    for (std::size_t i = 0; i < n; ++i) {
#pragma omp task
      fire::work();
    }
    return fire::take_count();
  });
}
