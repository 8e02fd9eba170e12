#pragma once

// `chain`: n tasks, each taking the result of the one before; the first takes 0. Then the last
// result is fetched.

#include "harness.hpp"

namespace chain {

inline constexpr bench::Workload kWorkload{.name = "chain", .unit = "ns", .n = 1'000'000};

inline int inc(int x) { return x + 1; }

}  // namespace chain
