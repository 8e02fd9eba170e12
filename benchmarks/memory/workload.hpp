#pragma once

// `memory`: while a blocked task holds each worker, n tasks that return an int are submitted.
// The value is the growth of the resident memory of the process (/proc/self/statm) divided by n:
// it holds the task, its result and the handle in the main thread's vector. Beside it stands
// what glibc's malloc counts (mallinfo2). Then the workers go on, and all results are fetched.

#include <atomic>
#include <thread>

#include "harness.hpp"

namespace memory {

inline constexpr bench::Workload kWorkload{.name = "memory", .unit = "bytes", .n = 1'000'000};

inline int work(int x) { return x + 1; }

inline std::atomic<int> blocked{0};
inline std::atomic<bool> open{false};

/// What holds a worker until open_gate().
inline int block(int x) {
  blocked.fetch_add(1);
  blocked.notify_all();
  open.wait(false);
  return x;
}

/// Returns when `block` holds every worker.
inline void wait_until_blocked() {
  for (int count = blocked.load(); count < bench::kWorkers; count = blocked.load())
    blocked.wait(count);
}

inline void open_gate() {
  open = true;
  open.notify_all();
}

inline std::uint64_t expected(std::size_t n) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<std::uint64_t>(work(static_cast<int>(i)));
  return sum;
}

}  // namespace memory
