#pragma once

// `ping`: submit one task, fetch its result, back to back. `ping_cold`: the same, each time after
// 200 us in which the main thread computes and submits nothing. A value is the time for one.

#include "harness.hpp"

namespace ping {

inline constexpr bench::Workload kWorkload{.name = "ping", .unit = "us", .n = 20'000};
inline constexpr bench::Workload kColdWorkload{.name = "ping_cold", .unit = "us", .n = 1'000};

inline constexpr std::chrono::microseconds kNoPause{0};
inline constexpr std::chrono::microseconds kPause{200};

inline int work(int x) { return x + 1; }

inline std::uint64_t expected(std::size_t n) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<std::uint64_t>(work(static_cast<int>(i)));
  return sum;
}

}  // namespace ping
