// A fiber per placement: a board of 8, since each board that waits owns a stack, and the cost of
// a task.

#include "fiber_pool.hpp"
#include "nqueens/workload.hpp"

namespace {

int solve(bench::Board board, int row, int n) {
  if (row == n) return 1;
  std::vector<boost::fibers::future<int>> below;
  below.reserve(static_cast<std::size_t>(n));
  for (int column = 0; column < n; ++column) {
    if (bench::queen_fits(board, row, column))
      below.push_back(
          bench::FiberPool::async(solve, nqueens::with_queen(board, row, column), row + 1, n));
  }
  int solutions = 0;
  for (auto& future : below) solutions += future.get();
  return solutions;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, nqueens::kWorkload, "boost_fiber", 8);
  const int n = nqueens::size_of(program);
  double tasks = 0;
  const int expected = nqueens::solve({}, 0, n, tasks);
  bench::FiberPool pool;
  return program.run(static_cast<std::uint64_t>(expected), tasks, [&] {
    return static_cast<std::uint64_t>(pool.async(solve, bench::Board{}, 0, n).get());
  });
}
