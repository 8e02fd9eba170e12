// Tries the schedules of a few threads one after the other: every order of their steps that needs
// no more than a given number of preemptions (Musuvathi and Qadeer, "Iterative context bounding",
// PLDI'07). A step is one operation on an explorer::atomic. Memory is sequentially consistent here;
// what a missing barrier breaks is left to the tests with real threads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace explorer {

/// Runs given bodies, one step of one of them at a time, in the order that `next` moves on.
class Schedule {
public:
  static constexpr std::size_t kMaxThreads = 3;

  explicit Schedule(int preemptions) : preemptions_(preemptions) {
    for (std::size_t i = 0; i < kMaxThreads; ++i) threads_.emplace_back([this, i] { serve(i); });
  }
  ~Schedule() {
    stop_ = true;
    for (auto& wake : wake_) wake.release();
    for (std::thread& thread : threads_) thread.join();
  }
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

  /// Runs the bodies once, at most kMaxThreads; returns when all of them have.
  void run(std::vector<std::function<void()>> bodies) {
    bodies_ = std::move(bodies);
    left_ = preemptions_;
    widths_.clear();
    runnable_.clear();
    for (std::size_t i = 0; i < bodies_.size(); ++i) runnable_.push_back(i);
    wake_[runnable_[choose(runnable_.size())]].release();
    done_.acquire();
  }

  /// Goes on to the next schedule; false when all were tried, and the next is the first again.
  bool next() {
    path_.resize(widths_.size());
    while (!path_.empty() && path_.back() + 1 >= widths_[path_.size() - 1]) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back();
    return true;
  }
  /// The choices that lead here, to be shown when something went wrong.
  std::string text() const {
    std::string text;
    for (std::size_t i = 0; i < widths_.size(); ++i) {
      const std::size_t choice = i < path_.size() ? path_[i] : 0;
      if (choice != 0) text += std::to_string(i) + ":" + std::to_string(choice) + " ";
    }
    return text;
  }

  /// Between two steps: another thread may go on from here. Nothing outside of run().
  static void point() {
    if (current != nullptr) current->maybe_switch();
  }

private:
  /// 0 unless this schedule says otherwise; fewer than `width`.
  std::size_t choose(std::size_t width) {
    const std::size_t at = widths_.size();
    widths_.push_back(width);
    return at < path_.size() ? path_[at] : 0;
  }

  void maybe_switch() {
    if (left_ == 0 || runnable_.size() == 1) return;
    const std::size_t choice = choose(runnable_.size());
    if (choice == 0) return;
    --left_;
    std::size_t other = choice - 1;  // Among the others.
    if (runnable_[other] >= self) ++other;
    const std::size_t me = self;
    wake_[runnable_[other]].release();
    wake_[me].acquire();
  }

  void serve(std::size_t i) {
    for (;;) {
      wake_[i].acquire();
      if (stop_) return;
      self = i;
      current = this;
      bodies_[i]();
      current = nullptr;
      std::erase(runnable_, i);
      if (runnable_.empty()) {
        done_.release();
      } else {
        wake_[runnable_[choose(runnable_.size())]].release();
      }
    }
  }

  static inline thread_local Schedule* current = nullptr;
  static inline thread_local std::size_t self = 0;

  const int preemptions_;
  // Touched by the one thread that runs; the semaphores hand them on.
  std::vector<std::function<void()>> bodies_;
  std::vector<std::size_t> runnable_;  // In ascending order.
  std::vector<std::size_t> path_;
  std::vector<std::size_t> widths_;  // How many choices there were at each.
  int left_ = 0;                     // Preemptions.
  bool stop_ = false;

  std::array<std::binary_semaphore, kMaxThreads> wake_{
      std::binary_semaphore{0}, std::binary_semaphore{0}, std::binary_semaphore{0}};
  std::binary_semaphore done_{0};
  std::vector<std::thread> threads_;
};

/// What stands for std::atomic in the code that is explored.
template <class T>
class atomic {
public:
  atomic() = default;
  atomic(T value) : value_(value) {}  // NOLINT(google-explicit-constructor): as std::atomic.

  T load(std::memory_order = std::memory_order_seq_cst) const {
    Schedule::point();
    return value_;
  }
  void store(T value, std::memory_order = std::memory_order_seq_cst) {
    Schedule::point();
    value_ = value;
  }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) {
    Schedule::point();
    return std::exchange(value_, value);
  }
  bool compare_exchange_strong(T& expected, T value,
                               std::memory_order = std::memory_order_seq_cst) {
    Schedule::point();
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = value;
    return true;
  }

private:
  T value_{};
};

}  // namespace explorer
