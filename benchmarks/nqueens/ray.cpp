// A task per placement, and a get of all children.

#include <array>

#include <ray/ray.hpp>

#include "nqueens/workload.hpp"

namespace {

int solve(bench::Board board, int row, int n) {
  if (row == n) return 1;
  std::array<ray::ObjectRef<int>, nqueens::kSizeMax> below;
  std::size_t size = 0;
  for (int column = 0; column < n; ++column) {
    if (bench::queen_fits(board, row, column))
      below[size++] = ray::remote<solve>(nqueens::with_queen(board, row, column), row + 1, n);
  }
  int solutions = 0;
  for (std::size_t i = 0; i < size; ++i) solutions += ray::get(below[i]);
  return solutions;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, nqueens::kWorkload, "ray");
  const int n = nqueens::size_of(program);
  double tasks = 0;
  const int expected = nqueens::solve({}, 0, n, tasks);
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(static_cast<std::uint64_t>(expected), tasks, [&] {
    return static_cast<std::uint64_t>(ray::get(ray::remote<solve>(bench::Board{}, 0, n)));
  });
}
