// One thread that calls back at given times: timeouts, retries, the monitor's tick. It sleeps
// until the next one and costs nothing while there is none (the thread starts with the first).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <ray/runtime/engine.hpp>

namespace ray::detail {

/// Threads: any. Callbacks run on the timer thread, without locks held; they must not block.
class Timers {
public:
  ~Timers() { stop(); }

  /// Calls `action` at `when`; the number names it for cancel(). 0 after stop().
  std::uint64_t at(Clock::time_point when, std::function<void()> action);
  /// Forgets a timer; its action may be running already.
  void cancel(std::uint64_t number);
  /// Drops what is left and joins the thread. Idempotent.
  void stop() noexcept;

private:
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<Clock::time_point, std::uint64_t>, std::function<void()>> queue_;
  std::map<std::uint64_t, Clock::time_point> times_;
  std::uint64_t last_ = 0;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace ray::detail
