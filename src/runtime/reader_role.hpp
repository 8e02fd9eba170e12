// Who reads what comes in by a channel, and hands it on: one thread at a time, and again and again
// on its own stack where what it hands on waits for something in turn.
#pragma once

#include <atomic>
#include <thread>

namespace ray::detail {

class ReaderRole {
public:
  /// The role for as long as this lives; false if another thread has it.
  class Turn {
  public:
    explicit Turn(ReaderRole& role) : role_(role) {
      const std::thread::id me = std::this_thread::get_id();
      std::thread::id nobody{};
      nested_ = role_.reader_.load(std::memory_order_relaxed) == me;
      has_ =
          nested_ || role_.reader_.compare_exchange_strong(nobody, me, std::memory_order_acquire);
    }
    ~Turn() {
      if (has_ && !nested_) role_.reader_.store(std::thread::id{}, std::memory_order_release);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    explicit operator bool() const noexcept { return has_; }

  private:
    ReaderRole& role_;
    bool nested_ = false;
    bool has_ = false;
  };

private:
  std::atomic<std::thread::id> reader_{};
};

}  // namespace ray::detail
