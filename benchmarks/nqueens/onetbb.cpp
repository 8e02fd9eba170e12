// A task_group per board, a task per placement.

#include <array>

#include <tbb/task_group.h>

#include "nqueens/workload.hpp"
#include "tbb_arena.hpp"

namespace {

int solve(const bench::Board& board, int row, int n) {
  if (row == n) return 1;
  std::array<int, nqueens::kSizeMax> below{};
  tbb::task_group group;
  for (int column = 0; column < n; ++column) {
    if (!bench::queen_fits(board, row, column)) continue;
    int& solutions = below[static_cast<std::size_t>(column)];
    group.run([next = nqueens::with_queen(board, row, column), row, n, &solutions] {
      solutions = solve(next, row + 1, n);
    });
  }
  group.wait();
  int solutions = 0;
  for (int part : below) solutions += part;
  return solutions;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, nqueens::kWorkload, "onetbb");
  const int n = nqueens::size_of(program);
  double tasks = 0;
  const int expected = nqueens::solve({}, 0, n, tasks);
  bench::TbbArena arena;
  return program.run(static_cast<std::uint64_t>(expected), tasks, [&] {
    return static_cast<std::uint64_t>(arena->execute([n] { return solve({}, 0, n); }));
  });
}
