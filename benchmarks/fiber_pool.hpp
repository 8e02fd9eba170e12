#pragma once

// Boost.Fiber as the benchmarks use it: two worker threads beside the main thread, all three
// taking fibers from the shared queue of `shared_work`. Joining it, the main thread runs fibers
// itself whenever it waits. The workers poll: with `true` for `suspend`, one that sleeps is not
// woken by a fiber which another thread posts.

#include <mutex>
#include <thread>
#include <vector>

#include <boost/fiber/all.hpp>

#include "harness.hpp"

namespace bench {

class FiberPool {
public:
  FiberPool() {
    boost::fibers::use_scheduling_algorithm<boost::fibers::algo::shared_work>(false);
    for (int i = 0; i < kWorkers; ++i) workers_.emplace_back([this] { work(); });
  }

  ~FiberPool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  /// A future for the result of `f(args…)` in a fiber of its own.
  template <class F, class... Args>
  static auto async(F f, Args... args) {
    return boost::fibers::async(boost::fibers::launch::post, std::allocator_arg,
                                boost::fibers::fixedsize_stack(16 * 1024), f, args...);
  }

private:
  void work() {
    boost::fibers::use_scheduling_algorithm<boost::fibers::algo::shared_work>(false);
    std::unique_lock lock(mutex_);
    stop_.wait(lock, [this] { return stopping_; });
  }

  boost::fibers::mutex mutex_;
  boost::fibers::condition_variable stop_;
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::thread> workers_;
};

}  // namespace bench
