#include <ray/scheduler/lane.hpp>

namespace ray::detail {

namespace {
constexpr std::size_t kInitialSlots = 1024;
constexpr std::uint64_t kSiblingsMax = 64;  // How far a thief looks for the end of a family.
}  // namespace

Lane::Lane() : slots_(nullptr), capacity_(kInitialSlots), ring_(nullptr) {
  rings_.push_back(std::make_unique<Ring>(kInitialSlots));
  slots_ = rings_.back()->slots.get();
  ring_.store(rings_.back().get(), std::memory_order_release);
}

Lane::~Lane() = default;

Task* Lane::pop() {
  const std::uint64_t end = bottom_.load(std::memory_order_relaxed);
  std::uint64_t b = end;
  if (b <= top_.load(std::memory_order_relaxed)) return nullptr;
  for (;;) {
    --b;
    bottom_.store(b, std::memory_order_relaxed);
    Slot& slot = slots_[b & (capacity_ - 1)];
    // seq_cst: the 0 is visible before top is read below (I4).
    const std::uintptr_t word = slot.exchange(0, std::memory_order_seq_cst);
    if (is_task(word)) return task_in(word);
    if (top_.load(std::memory_order_seq_cst) >= b) {
      empty_until(end);
      return nullptr;
    }
  }
}

/// Looks whether a thief has passed `b`, the new bottom, before the slots from there on to `end`
/// were made 0: then the holes below it are all taken, and this meets the thief at top (I4).
/// Requires: a full barrier since then.
void Lane::settle(std::uint64_t b, std::uint64_t end) {
  for (;;) {
    if (top_.load(std::memory_order_seq_cst) >= b) {
      empty_until(end);
      return;
    }
    Slot& slot = slots_[(b - 1) & (capacity_ - 1)];
    if (!is_taken(slot.load(std::memory_order_relaxed))) return;
    --b;
    bottom_.store(b, std::memory_order_relaxed);
    slot.exchange(0, std::memory_order_seq_cst);
  }
}

/// Moves top and bottom to `end`, below which no task stands. Top is moved even where it stands
/// past what was popped: a thief may have come again since, have read kTaken from there on before
/// it was made 0, and be about to move top over what the owner pushes next.
void Lane::empty_until(std::uint64_t end) {
  std::uint64_t t = top_.load(std::memory_order_seq_cst);
  while (t < end && !top_.compare_exchange_strong(t, end, std::memory_order_seq_cst)) {
  }
  bottom_.store(end, std::memory_order_release);
}

std::size_t Lane::steal(Task** out, std::size_t max) {
  if (looks_empty() || thief_.exchange(true, std::memory_order_acquire)) return 0;
  std::size_t count = 0;
  const std::uint64_t first = top_.load(std::memory_order_seq_cst);
  std::uint64_t t = first;
  const std::uint64_t b = bottom_.load(std::memory_order_acquire);
  const Ring* ring = ring_.load(std::memory_order_acquire);
  if (t < b) {
    const std::uint64_t half = (b - t + 1) / 2;
    if (half < max) max = static_cast<std::size_t>(half);
  }
  while (t < b && count < max) {
    Slot& slot = ring->slots[t & (ring->capacity - 1)];
    std::uintptr_t word = slot.load(std::memory_order_seq_cst);
    if (is_task(word)) {
      if (!slot.compare_exchange_strong(word, taken_from(word), std::memory_order_acq_rel))
        continue;
      out[count++] = task_in(word);
    } else if (!is_taken(word)) {
      break;  // Popped by the owner, or the ring is growing.
    }
    ++t;
  }
  // Fails only if the owner found the lane empty and moved top itself (I4).
  std::uint64_t expected = first;
  if (t != first) top_.compare_exchange_strong(expected, t, std::memory_order_seq_cst);
  thief_.store(false, std::memory_order_release);
  return count;
}

Task* Lane::steal_one() {
  if (looks_empty() || thief_.exchange(true, std::memory_order_acquire)) return nullptr;
  Task* found = nullptr;
  const std::uint64_t first = top_.load(std::memory_order_seq_cst);
  std::uint64_t t = first;
  const std::uint64_t b = bottom_.load(std::memory_order_acquire);
  const Ring* ring = ring_.load(std::memory_order_acquire);
  const auto at = [&](std::uint64_t i) -> Slot& { return ring->slots[i & (ring->capacity - 1)]; };
  while (t < b && is_taken(at(t).load(std::memory_order_seq_cst))) ++t;
  Slot* last = nullptr;
  std::uintptr_t word = 0;
  for (std::uint64_t i = t; i < b && i - t < kSiblingsMax; ++i) {
    const std::uintptr_t next = at(i).load(std::memory_order_acquire);
    if (last != nullptr && (next & kFirst) != 0) break;
    if (is_task(next)) {
      last = &at(i);
      word = next;
      if ((word & kNested) == 0) break;
    } else if (!is_taken(next)) {
      break;  // Popped by the owner, or the ring is growing.
    }
  }
  if (last != nullptr &&
      last->compare_exchange_strong(word, taken_from(word), std::memory_order_acq_rel)) {
    found = task_in(word);
  }
  std::uint64_t expected = first;  // As in steal().
  if (t != first) top_.compare_exchange_strong(expected, t, std::memory_order_seq_cst);
  thief_.store(false, std::memory_order_release);
  return found;
}

void Lane::make_room() {
  const std::uint64_t b = bottom_.load(std::memory_order_relaxed);
  // Claimed tasks leave kTaken behind; where no thief comes by, the owner moves top itself.
  if (!thief_.exchange(true, std::memory_order_acquire)) {
    const std::uint64_t first = top_.load(std::memory_order_seq_cst);
    std::uint64_t t = first;
    while (t < b && is_taken(slots_[t & (capacity_ - 1)].load(std::memory_order_acquire))) ++t;
    if (t != first) top_.store(t, std::memory_order_seq_cst);
    thief_.store(false, std::memory_order_release);
  }
  top_seen_ = top_.load(std::memory_order_acquire);
  if (b - top_seen_ < capacity_ - capacity_ / 4) return;

  auto grown = std::make_unique<Ring>(capacity_ * 2);
  for (std::uint64_t i = top_seen_; i < b; ++i) {
    const std::uintptr_t word =
        slots_[i & (capacity_ - 1)].exchange(kMoved, std::memory_order_acq_rel);
    Slot& slot = grown->slots[i & (grown->capacity - 1)];
    if (is_task(word)) {
      task_in(word)->slot.store(reinterpret_cast<std::uintptr_t>(&slot), std::memory_order_release);
    }
    slot.store(word, std::memory_order_release);
  }
  slots_ = grown->slots.get();
  capacity_ = grown->capacity;
  ring_.store(grown.get(), std::memory_order_release);
  rings_.push_back(std::move(grown));
}

}  // namespace ray::detail
