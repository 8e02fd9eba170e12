// A task per placement, and a get of all children.

#include <ray/ray.hpp>

#include "nqueens/workload.hpp"

namespace {

int solve(bench::Board board, int row, int n) {
  if (row == n) return 1;
  std::vector<ray::ObjectRef<int>> below;
  below.reserve(static_cast<std::size_t>(n));
  for (int column = 0; column < n; ++column) {
    if (bench::queen_fits(board, row, column))
      below.push_back(ray::remote<solve>(nqueens::with_queen(board, row, column), row + 1, n));
  }
  int solutions = 0;
  for (const auto& ref : below) solutions += ray::get(ref);
  return solutions;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, nqueens::kWorkload, "ray");
  const int n = static_cast<int>(program.n());
  double tasks = 0;
  const int expected = nqueens::solve({}, 0, n, tasks);
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(static_cast<std::uint64_t>(expected), tasks, [&] {
    return static_cast<std::uint64_t>(ray::get(ray::remote<solve>(bench::Board{}, 0, n)));
  });
}
