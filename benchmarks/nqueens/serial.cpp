// Plain calls.

#include "nqueens/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, nqueens::kWorkload, "serial");
  const int n = nqueens::size_of(program);
  double tasks = 0;
  const int expected = nqueens::solve({}, 0, n, tasks);
  return program.run(static_cast<std::uint64_t>(expected), tasks, [&] {
    double ignored = 0;
    return static_cast<std::uint64_t>(nqueens::solve({}, 0, n, ignored));
  });
}
