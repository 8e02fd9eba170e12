#pragma once

// The end of a burst of tasks that return nothing, for pools that do not offer one: the last
// task wakes the main thread.

#include <atomic>
#include <cstddef>

namespace bench {

class AllDone {
public:
  explicit AllDone(std::size_t tasks) : left_(tasks) {}

  void count_down() {
    // acq_rel: the waiter sees what every task wrote before it counted down.
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_all();
  }

  void wait() const {
    for (;;) {
      const std::size_t left = left_.load(std::memory_order_acquire);
      if (left == 0) return;
      left_.wait(left, std::memory_order_acquire);
    }
  }

private:
  std::atomic<std::size_t> left_;
};

}  // namespace bench
