#pragma once

// The rings that the raw limits are measured with: fixed slots of one cache line between one writer
// and one reader, in memory that two processes map. No allocation, no encoding: what is left is
// what the machine takes.

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace limits {

/// What a side does while its ring is empty or full.
enum class Waiting {
  poll,   // Look again, for as long as it takes.
  sleep,  // In the kernel at once; the other side wakes it.
};

struct Message {
  std::array<std::uint64_t, 7> words{};
};

/// Lifetime: begins with zeroed memory that both processes map. Threads: push() on one, pop() on
/// one other, of any process.
class SharedRing {
public:
  static constexpr std::uint32_t kSlots = 1024;  // A power of two.

  void push(const Message& message, Waiting waiting) {
    const std::uint32_t next = written_.load(std::memory_order_relaxed);
    if (next - reader_seen_ == kSlots) {
      wait(waiting, freed_bell_, [&] {
        reader_seen_ = read_.load(std::memory_order_acquire);
        return next - reader_seen_ != kSlots;
      });
    }
    Slot& slot = slots_[next % kSlots];
    slot.message = message;
    slot.sequence.store(next + 1, std::memory_order_release);
    written_.store(next + 1, std::memory_order_relaxed);
    if (waiting == Waiting::sleep) ring(filled_bell_);
  }

  Message pop(Waiting waiting) {
    const std::uint32_t next = read_.load(std::memory_order_relaxed);
    Slot& slot = slots_[next % kSlots];
    wait(waiting, filled_bell_,
         [&] { return slot.sequence.load(std::memory_order_acquire) == next + 1; });
    const Message message = slot.message;
    read_.store(next + 1, std::memory_order_release);
    if (waiting == Waiting::sleep) ring(freed_bell_);
    return message;
  }

private:
  struct alignas(64) Slot {
    std::atomic<std::uint32_t> sequence;  // One more than the number of its message.
    Message message;
  };

  /// A futex word that changes whenever the other side shall look again.
  struct alignas(64) Bell {
    std::atomic<std::uint32_t> count;
    std::atomic<std::uint32_t> sleepers;
  };

  template <class IsReady>
  static void wait(Waiting waiting, Bell& bell, IsReady is_ready) {
    while (!is_ready()) {
      if (waiting == Waiting::poll) {
        __builtin_ia32_pause();
        continue;
      }
      bell.sleepers.fetch_add(1);
      const std::uint32_t seen = bell.count.load();
      if (!is_ready()) syscall(SYS_futex, &bell.count, FUTEX_WAIT, seen, nullptr, nullptr, 0);
      bell.sleepers.fetch_sub(1);
    }
  }

  static void ring(Bell& bell) {
    bell.count.fetch_add(1);
    if (bell.sleepers.load() != 0)
      syscall(SYS_futex, &bell.count, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  Bell filled_bell_;
  Bell freed_bell_;
  alignas(64) std::atomic<std::uint32_t> written_;  // The writer's own line, with what it has seen
  std::uint32_t reader_seen_;                       // of the reader.
  alignas(64) std::atomic<std::uint32_t> read_;
  std::array<Slot, kSlots> slots_;
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace limits
