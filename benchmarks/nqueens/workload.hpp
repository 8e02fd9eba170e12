#pragma once

// `nqueens`: all solutions of n queens, a task for every placement that fits: 166,926 tasks on a
// board of 11. A value is the time per task.

#include "harness.hpp"
#include "payload.hpp"

namespace nqueens {

inline constexpr bench::Workload kWorkload{.name = "nqueens", .unit = "ns", .n = 11};

/// The largest board: a placement has as many below it.
inline constexpr std::size_t kSizeMax = 12;

inline int size_of(const bench::Program& program) {
  if (program.n() > kSizeMax) {
    std::fprintf(stderr, "nqueens: --n is at most %zu\n", kSizeMax);
    std::exit(2);
  }
  return static_cast<int>(program.n());
}

inline bench::Board with_queen(bench::Board board, int row, int column) {
  board[static_cast<std::size_t>(row)] = static_cast<signed char>(column);
  return board;
}

/// The number of solutions below `board`; adds the number of placements to `tasks`.
inline int solve(const bench::Board& board, int row, int n, double& tasks) {
  ++tasks;
  if (row == n) return 1;
  int solutions = 0;
  for (int column = 0; column < n; ++column) {
    if (bench::queen_fits(board, row, column))
      solutions += solve(with_queen(board, row, column), row + 1, n, tasks);
  }
  return solutions;
}

}  // namespace nqueens
