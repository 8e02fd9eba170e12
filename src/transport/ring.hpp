// A ring of frames in memory that two processes share: one writes, one reads.
//
// A frame is a word of length, a word that says how much of its message follows in later frames,
// and the bytes; all of it begins at multiples of 8. A frame lies in one piece: where it does not
// fit before the end of the ring, a mark says that the next one is at the start. (Mapping the
// memory twice in a row would save the mark, but each page would be faulted in twice, which costs
// more than any message, and a checker of races does not see that two addresses are one byte.)
//
// Neither side trusts the other. What a side knows of itself it keeps in its own memory and only
// publishes; what the other publishes is read once and compared with it. A peer that writes
// nonsense gets nonsense read, or a RingFault, and never an access outside of the ring.
//
// The doorbell. A reader that has nothing to read says in `reader` whether it must be woken. The
// invariant: whoever sleeps has stored kSleeps after it was last woken, and after that found the
// ring empty. A writer stores `tail` and then reads `reader`; a reader stores `reader` and then
// reads `tail`. All four are sequentially consistent, so one of the two sees what the other stored:
// the writer rings, or the reader does not sleep. The same holds for a writer that waits for room
// (`writer_waits`, then `head`) and a reader that makes some (`head`, then `writer_waits`).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include <ray/config.hpp>

namespace ray::detail {

/// What a writer does about its reader.
enum class ReaderState : std::uint32_t {
  polls = 0,   // Looks by itself, or was rung for: nothing.
  sleeps = 1,  // Must be rung for.
  away = 2,    // Comes back by itself: rung for what is urgent, or when the ring is half full.
};

/// The part of a ring that is no bytes. Zeroed memory is an empty ring whose reader polls.
struct RingState {
  alignas(kCacheLine) std::atomic<std::uint64_t> tail;    // Bytes ever written; the writer's.
  alignas(kCacheLine) std::atomic<std::uint64_t> head;    // Bytes ever read; the reader's.
  alignas(kCacheLine) std::atomic<std::uint32_t> reader;  // A ReaderState; any number if it lies.
  std::atomic<std::uint32_t> writer_waits;                // 1: tell it when the ring is half empty.
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// How a peer broke the rules of the ring. The ring is of no use afterwards.
enum class RingFault : std::uint8_t {
  none,
  index,     // It claims to have written or read what cannot be.
  length,    // A frame is longer than what was written, or than frames may be.
  sequence,  // The parts of a message do not belong together, or it is too long.
};
const char* ring_fault_text(RingFault fault) noexcept;

inline constexpr std::uint64_t kRingBytesMin = 4096;

/// Bytes that a ring of `capacity` takes: a power of two, at least kRingBytesMin.
constexpr std::uint64_t ring_memory_bytes(std::uint64_t capacity) {
  return sizeof(RingState) + capacity;
}

constexpr std::size_t ring_frame_max(std::uint64_t capacity) {
  return static_cast<std::size_t>(capacity / 4 - 8);
}

/// One end of a ring. Lifetime: of the memory. Threads: one at a time.
class RingWriter {
public:
  /// Requires: ring_memory_bytes(capacity) bytes, aligned to a cache line.
  RingWriter(std::span<std::byte> memory, std::uint64_t capacity);

  /// The longest body: with its header a quarter of the ring. So there is always room for one,
  /// with what is skipped before it, where half of the ring is free.
  std::size_t frame_max() const noexcept { return ring_frame_max(capacity_); }

  enum class Wrote : std::uint8_t { all, full, fault };
  /// `rest`: bytes of the same message that follow in later frames.
  /// Requires: body.size() <= frame_max().
  Wrote try_write(std::span<const std::byte> body, std::uint32_t rest = 0);

  /// To be called after writing: whether the reader's bell must be rung now.
  bool must_ring(bool urgent);
  /// Asks to be rung for when there is room; false if there is some already.
  bool wait_for_room();

private:
  std::uint64_t used();

  RingState* state_;
  std::byte* bytes_;
  std::uint64_t capacity_;
  std::uint64_t tail_ = 0;
  std::uint64_t seen_head_ = 0;
};

/// The other end. Lifetime: of the memory. Threads: one at a time.
class RingReader {
public:
  /// Requires: as for RingWriter.
  RingReader(std::span<std::byte> memory, std::uint64_t capacity);

  struct Frame {
    std::span<const std::byte> body;  // In the ring: the writer can change it. Read bytes once.
    std::uint32_t rest = 0;
  };
  enum class Read : std::uint8_t { frame, nothing, fault };
  /// Requires: the frame before was released.
  Read try_read(Frame& frame);
  /// Makes room of the frame; true if the writer waits for that and must be rung for.
  bool release();

  /// Whether something was written that is not read.
  bool has_more() const noexcept {
    return state_->tail.load(std::memory_order_seq_cst) != head_ + taken_;
  }
  /// Requires for `sleeps`: the caller looks into the ring before it does sleep.
  void set_state(ReaderState state) noexcept;
  RingFault fault() const noexcept { return fault_; }

private:
  Read fail(RingFault fault) noexcept;

  RingState* state_;
  const std::byte* bytes_;
  std::uint64_t capacity_;
  std::uint64_t head_ = 0;
  std::uint64_t seen_tail_ = 0;
  std::uint64_t taken_ = 0;  // Bytes of the frame that is out.
  RingFault fault_ = RingFault::none;
};

}  // namespace ray::detail
