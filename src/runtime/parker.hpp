// A thread's bed: park() sleeps until somebody calls unpark(). One permit, so an unpark() that
// comes first is not lost; wake-ups may be spurious. Parkers are recycled, never freed: a late
// unpark() of one whose thread has gone on is harmless.
#pragma once

#include <atomic>
#include <cstdint>

#include <ray/runtime/engine.hpp>

namespace ray::detail {

class Parker {
public:
  void park() noexcept { park_until(nullptr); }
  /// Until unparked or the deadline (null: none).
  void park_until(const Clock::time_point* deadline) noexcept;
  void unpark() noexcept;

  /// For a thread that sleeps in poll(2) instead: until rest_ends(), unpark() makes this descriptor
  /// readable. Below 0: it was unparked already and shall not sleep.
  int rest_begins();
  void rest_ends() noexcept;

  /// This thread's own.
  static Parker& mine();
  /// Descriptors that are kept for threads to come.
  static int bells() noexcept;

private:
  friend struct ParkerLease;
  std::atomic<std::uint32_t> permit_{0};
  std::atomic<int> bell_{-1};  // An eventfd while the thread rests.
  int own_bell_ = -1;          // It, once there was need of it.
  Parker* next_idle_ = nullptr;
};

}  // namespace ray::detail
