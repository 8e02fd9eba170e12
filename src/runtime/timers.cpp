#include "runtime/timers.hpp"

#include <pthread.h>

namespace ray::detail {

std::uint64_t Timers::at(Clock::time_point when, std::function<void()> action) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return 0;
  const std::uint64_t number = ++last_;
  const bool first = queue_.empty() || when < queue_.begin()->first.first;
  queue_.emplace(std::pair(when, number), std::move(action));
  times_.emplace(number, when);
  if (!thread_.joinable()) {
    thread_ = std::thread([this] { loop(); });
    ::pthread_setname_np(thread_.native_handle(), "ray-timers");
  } else if (first) {
    changed_.notify_one();
  }
  return number;
}

void Timers::cancel(std::uint64_t number) {
  std::function<void()> dropped;  // Destroyed after the lock is gone.
  const std::lock_guard lock(mutex_);
  const auto found = times_.find(number);
  if (found == times_.end()) return;
  const auto entry = queue_.find({found->second, number});
  if (entry != queue_.end()) {
    dropped = std::move(entry->second);
    queue_.erase(entry);
  }
  times_.erase(found);
}

void Timers::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  queue_.clear();
  times_.clear();
}

void Timers::loop() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (queue_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto first = queue_.begin();
    if (first->first.first > Clock::now()) {
      const auto until = first->first.first;
      changed_.wait_until(lock, until);
      continue;
    }
    std::function<void()> action = std::move(first->second);
    times_.erase(first->first.second);
    queue_.erase(first);
    lock.unlock();
    action();
    action = nullptr;
    lock.lock();
  }
}

}  // namespace ray::detail
