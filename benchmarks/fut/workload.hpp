#pragma once

// `fut`: n tasks that return an int, submitted from outside the pool; then each result is fetched
// by itself, in the order of submission.

#include "harness.hpp"

namespace fut {

inline constexpr bench::Workload kWorkload{.name = "fut", .unit = "ns", .n = 1'000'000};

inline int work(int x) { return x + 1; }

inline std::uint64_t expected(std::size_t n) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<std::uint64_t>(work(static_cast<int>(i)));
  return sum;
}

}  // namespace fut
