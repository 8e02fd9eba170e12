#pragma once

// `fib`: fib(n) by two tasks per call, each with a handle whose result the caller waits for, down
// to fib(1) and fib(0): no cutoff. A value is the time per call.

#include "harness.hpp"

namespace fib {

inline constexpr bench::Workload kWorkload{.name = "fib", .unit = "ns", .n = 30};

inline std::uint64_t expected(std::size_t n) {
  std::uint64_t a = 0;
  std::uint64_t b = 1;
  for (; n > 0; --n) a = std::exchange(b, a + b);
  return a;
}

/// Calls of fib() that fib(n) makes, itself included.
inline double calls(std::size_t n) { return static_cast<double>(2 * expected(n + 1) - 1); }

}  // namespace fib
