#pragma once

// `wave`: a grid of n x n cells, each computed from the cell above and the cell to the left;
// beyond the border stands 1. A value is the time to build and run all tasks.

#include "harness.hpp"

namespace wave {

inline constexpr bench::Workload kWorkload{.name = "wave", .unit = "ms", .n = 256};

inline std::uint64_t cell(std::uint64_t up, std::uint64_t left) { return 31 * up + 17 * left + 7; }

/// A grid with a border of ones at index 0 of both directions.
class Grid {
public:
  explicit Grid(std::size_t n) : side_(n + 1), cells_(side_ * side_, 1) {}

  std::uint64_t& at(std::size_t i, std::size_t j) { return cells_[i * side_ + j]; }
  void compute(std::size_t i, std::size_t j) { at(i, j) = cell(at(i - 1, j), at(i, j - 1)); }
  std::uint64_t last() const { return cells_.back(); }

private:
  std::size_t side_;
  std::vector<std::uint64_t> cells_;
};

inline std::uint64_t expected(std::size_t n) {
  Grid grid(n);
  for (std::size_t i = 1; i <= n; ++i)
    for (std::size_t j = 1; j <= n; ++j) grid.compute(i, j);
  return grid.last();
}

}  // namespace wave
