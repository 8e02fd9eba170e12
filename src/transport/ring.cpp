#include "transport/ring.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ray::detail {

namespace {

constexpr std::uint64_t kHeader = 8;
constexpr std::uint32_t kSkip = 0xffff'ffff;  // As a length: the next frame is at the start.

constexpr std::uint64_t frame_bytes(std::uint64_t body) { return kHeader + ((body + 7) & ~7ULL); }

struct Header {
  std::uint32_t length;
  std::uint32_t rest;
};
static_assert(sizeof(Header) == kHeader);

RingState* state_of(std::span<std::byte> memory, std::uint64_t capacity) {
  RAY_ASSERT(capacity >= kRingBytesMin && std::has_single_bit(capacity));
  RAY_ASSERT(memory.size() >= ring_memory_bytes(capacity));
  RAY_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % kCacheLine == 0);
  return reinterpret_cast<RingState*>(memory.data());
}

}  // namespace

const char* ring_fault_text(RingFault fault) noexcept {
  switch (fault) {
    case RingFault::none:
      return "no fault";
    case RingFault::index:
      return "an index of the ring is not possible";
    case RingFault::length:
      return "a frame of the ring is longer than what was written";
    case RingFault::sequence:
      return "the parts of a long message do not fit together";
  }
  return "an unknown fault";
}

// --- the writer ---

RingWriter::RingWriter(std::span<std::byte> memory, std::uint64_t capacity)
    : state_(state_of(memory, capacity)),
      bytes_(memory.data() + sizeof(RingState)),
      capacity_(capacity) {}

/// Bytes that the reader has not released; more than there are if it claims what cannot be.
std::uint64_t RingWriter::used() {
  seen_head_ = state_->head.load(std::memory_order_seq_cst);
  return tail_ - seen_head_;
}

RingWriter::Wrote RingWriter::try_write(std::span<const std::byte> body, std::uint32_t rest) {
  RAY_ASSERT(body.size() <= frame_max());
  const std::uint64_t size = frame_bytes(body.size());
  const std::uint64_t at = tail_ & (capacity_ - 1);
  const std::uint64_t skipped = size > capacity_ - at ? capacity_ - at : 0;
  if (tail_ - seen_head_ + skipped + size > capacity_) {
    const std::uint64_t taken = used();
    if (taken > capacity_) return Wrote::fault;
    if (taken + skipped + size > capacity_) return Wrote::full;
  }
  if (skipped != 0) {
    const Header mark{kSkip, 0};
    std::memcpy(bytes_ + at, &mark, sizeof mark);
    tail_ += skipped;
  }
  std::byte* to = bytes_ + (tail_ & (capacity_ - 1));
  const Header header{static_cast<std::uint32_t>(body.size()), rest};
  std::memcpy(to, &header, sizeof header);
  if (!body.empty()) std::memcpy(to + kHeader, body.data(), body.size());
  tail_ += size;
  state_->tail.store(tail_, std::memory_order_seq_cst);
  return Wrote::all;
}

bool RingWriter::must_ring(bool urgent) {
  const std::uint32_t state = state_->reader.load(std::memory_order_seq_cst);
  if (state == static_cast<std::uint32_t>(ReaderState::polls)) return false;
  if (state == static_cast<std::uint32_t>(ReaderState::away) && !urgent &&
      used() <= capacity_ / 2) {
    return false;
  }
  // Once is enough until it says anew that it goes.
  std::uint32_t expected = state;
  return state_->reader.compare_exchange_strong(
      expected, static_cast<std::uint32_t>(ReaderState::polls), std::memory_order_seq_cst);
}

bool RingWriter::wait_for_room() {
  state_->writer_waits.store(1, std::memory_order_seq_cst);
  if (used() > capacity_ / 2) return true;
  state_->writer_waits.store(0, std::memory_order_relaxed);
  return false;
}

// --- the reader ---

RingReader::RingReader(std::span<std::byte> memory, std::uint64_t capacity)
    : state_(state_of(memory, capacity)),
      bytes_(memory.data() + sizeof(RingState)),
      capacity_(capacity) {}

RingReader::Read RingReader::fail(RingFault fault) noexcept {
  fault_ = fault;
  return Read::fault;
}

RingReader::Read RingReader::try_read(Frame& frame) {
  if (fault_ != RingFault::none) return Read::fault;
  RAY_ASSERT(taken_ == 0);
  std::uint64_t there = seen_tail_ - head_;
  if (there == 0) {
    seen_tail_ = state_->tail.load(std::memory_order_seq_cst);
    there = seen_tail_ - head_;
    if (there == 0) return Read::nothing;
    if (there > capacity_ || there % 8 != 0) return fail(RingFault::index);
  }
  Header header;
  std::memcpy(&header, bytes_ + (head_ & (capacity_ - 1)), sizeof header);
  std::uint64_t skipped = 0;
  if (header.length == kSkip) {
    skipped = capacity_ - (head_ & (capacity_ - 1));
    // A mark is published together with the frame behind it.
    if (skipped + kHeader > there) return fail(RingFault::length);
    std::memcpy(&header, bytes_, sizeof header);
  }
  const std::uint64_t at = (head_ + skipped) & (capacity_ - 1);
  const std::uint64_t length = header.length;  // The only copy that is believed.
  if (length > ring_frame_max(capacity_) || skipped + frame_bytes(length) > there ||
      at + frame_bytes(length) > capacity_) {
    return fail(RingFault::length);
  }
  taken_ = skipped + frame_bytes(length);
  frame.body = {bytes_ + at + kHeader, static_cast<std::size_t>(length)};
  frame.rest = header.rest;
  return Read::frame;
}

bool RingReader::release() {
  RAY_ASSERT(taken_ != 0);
  head_ += taken_;
  taken_ = 0;
  state_->head.store(head_, std::memory_order_seq_cst);
  if (state_->writer_waits.load(std::memory_order_seq_cst) == 0) return false;
  const std::uint64_t left = state_->tail.load(std::memory_order_relaxed) - head_;
  return left <= capacity_ / 2 && state_->writer_waits.exchange(0) != 0;
}

void RingReader::set_state(ReaderState state) noexcept {
  state_->reader.store(static_cast<std::uint32_t>(state), std::memory_order_seq_cst);
}

}  // namespace ray::detail
