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

  /// This thread's own.
  static Parker& mine();

private:
  friend struct ParkerLease;
  std::atomic<std::uint32_t> permit_{0};
  Parker* next_idle_ = nullptr;
};

}  // namespace ray::detail
