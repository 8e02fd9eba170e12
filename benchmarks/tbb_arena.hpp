#pragma once

// oneTBB as the benchmarks use it: an arena of two workers beside the main thread, and a task
// with a result as its documentation advises, by std::promise.

#include <future>
#include <utility>

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include "harness.hpp"

namespace bench {

/// An arena with one slot for the main thread and kWorkers slots for workers.
class TbbArena {
public:
  tbb::task_arena* operator->() { return &arena_; }

  /// enqueue() with a future for the result of `f(x)`.
  template <class F>
  std::future<int> enqueue(F f, int x) {
    std::promise<int> promise;
    std::future<int> future = promise.get_future();
    arena_.enqueue(Job<F>{f, x, std::move(promise)});
    return future;
  }

private:
  template <class F>
  struct Job {
    F f;
    int x;
    mutable std::promise<int> promise;  // enqueued functions are called as const

    void operator()() const { promise.set_value(f(x)); }
  };

  tbb::global_control threads_{tbb::global_control::max_allowed_parallelism, kWorkers + 1};
  tbb::task_arena arena_{kWorkers + 1, 1};
};

}  // namespace bench
