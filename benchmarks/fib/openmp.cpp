// Two tasks per call and a taskwait.

#include "fib/workload.hpp"

namespace {

int fibonacci(int n) {
  if (n < 2) return n;
  int x = 0;
  int y = 0;
#pragma omp task shared(x) firstprivate(n)
  x = fibonacci(n - 1);
#pragma omp task shared(y) firstprivate(n)
  y = fibonacci(n - 2);
#pragma omp taskwait
  return x + y;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fib::kWorkload, "openmp");
  const std::size_t n = program.n();
  return program.run(fib::expected(n), fib::calls(n), [&] {
    int result = 0;
#pragma omp parallel num_threads(bench::kWorkers + 1)
#pragma omp single
    result = fibonacci(static_cast<int>(n));
    return static_cast<std::uint64_t>(result);
  });
}
