// A task per placement and a taskwait.

#include <array>

#include "nqueens/workload.hpp"

namespace {

int solve(const bench::Board& board, int row, int n) {
  if (row == n) return 1;
  std::array<int, nqueens::kSizeMax> below{};
  for (int column = 0; column < n; ++column) {
    if (!bench::queen_fits(board, row, column)) continue;
    const bench::Board next = nqueens::with_queen(board, row, column);
    int* const solutions = &below[static_cast<std::size_t>(column)];
#pragma omp task firstprivate(next, row, n, solutions)
    *solutions = solve(next, row + 1, n);
  }
#pragma omp taskwait
  int solutions = 0;
  for (int part : below) solutions += part;
  return solutions;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, nqueens::kWorkload, "openmp");
  const int n = nqueens::size_of(program);
  double tasks = 0;
  const int expected = nqueens::solve({}, 0, n, tasks);
  return program.run(static_cast<std::uint64_t>(expected), tasks, [&] {
    int solutions = 0;
#pragma omp parallel num_threads(bench::kWorkers + 1)
#pragma omp single
    solutions = solve({}, 0, n);
    return static_cast<std::uint64_t>(solutions);
  });
}
