// A lane: the queue of ready tasks of one thread. Its owner pushes and pops at the bottom (newest
// first), others steal at the top (oldest first), and anyone who holds a reference to a task may
// claim it from the middle to run it at once.
//
// After the deque of Chase and Lev (SPAA'05) with one change: who takes a task is decided by an
// atomic exchange on its slot, not by the indices. That makes claiming from the middle possible,
// and owner's pop needs one read-modify-write and no fence.
//
// Invariants:
//  I1  A task stands in at most one slot; taking it means swapping that slot's pointer out. So it
//      is taken once, whatever top and bottom say.
//  I2  Slots with index in [top, bottom) hold a task, kTaken (somebody took it) or, while the
//      owner pops, 0. Only the owner writes 0, and never where a live task stands.
//  I3  top never decreases. A thief moves it past an index only after reading kTaken there while
//      top stood at or below it.
//  I4  The owner never reuses an index that a thief may still move top past: when it pops kTaken
//      it first writes 0 (a full barrier), then reads top; if top has reached that index the lane
//      is empty, and the owner moves top and bottom to where bottom stood before. A thief that read
//      kTaken before the 0 was written had seen a top that the owner then sees as well, or moves.
// Slots also say which tasks were made by a task (kNested), and where a family of them begins
// (kFirst): those that one call made in a row. A thief takes the last of the oldest family: its
// parent waits for the first ones first, so the two meet late, and seldom does one have to sleep
// until the other is done. A driver's own tasks are taken in the order in which they were made.
// Hence no live task is ever outside [top, bottom): nothing is lost, nothing runs twice.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <ray/config.hpp>
#include <ray/task/record.hpp>

namespace ray::detail {

/// Owns: the slots, and one reference to each task in them. Threads: push and pop by the owner
/// only; steal, claim and looks_empty by anyone.
class Lane {
public:
  using Slot = std::atomic<std::uintptr_t>;
  static constexpr std::uintptr_t kTaken = 1;  // Its task was taken.
  static constexpr std::uintptr_t kMoved = 2;  // The ring has grown; look again.
  // Or-ed to a task or to kTaken:
  static constexpr std::uintptr_t kNested = 4;  // A task made it.
  static constexpr std::uintptr_t kFirst = 8;   // It begins a family.
  static constexpr std::uintptr_t kFlags = kNested | kFirst;
  static constexpr std::uintptr_t kTaskMin = 16;

  Lane();
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  /// `family`: the call that makes it, null outside of tasks; those with the same one in a row are
  /// a family.
  void push(Task* task, const void* family = nullptr) {
    const std::uint64_t b = bottom_.load(std::memory_order_relaxed);
    if (b - top_seen_ >= capacity_) [[unlikely]]
      make_room();
    Slot* slot = &slots_[b & (capacity_ - 1)];
    // release: pairs with the acquire in claim(), which looks into the ring from there.
    task->slot.store(reinterpret_cast<std::uintptr_t>(slot), std::memory_order_release);
    std::uintptr_t flags = family != nullptr ? kNested : 0;
    if (family != last_family_) flags |= kFirst;
    last_family_ = family;
    // release: pairs with the acquire of whoever takes it.
    slot->store(reinterpret_cast<std::uintptr_t>(task) | flags, std::memory_order_release);
    bottom_.store(b + 1, std::memory_order_release);
  }

  /// The newest task, or null.
  Task* pop();

  /// Takes up to `max` of the oldest tasks, at most half of what is there (at least one).
  std::size_t steal(Task** out, std::size_t max);
  /// Takes one task, or none (null): the oldest, or the last of the oldest family.
  Task* steal_one();

  /// Takes `task` out of whatever lane it stands in; false if it is in none or was taken.
  /// Requires: a reference to `task`, which is of a kind that goes into lanes.
  static bool claim(Task* task) {
    std::uintptr_t at = task->slot.load(std::memory_order_acquire);
    for (;;) {
      if (at < kTaskMin) return false;
      Slot* slot = reinterpret_cast<Slot*>(at);
      std::uintptr_t word = slot->load(std::memory_order_relaxed);
      if (holds(word, task) &&
          slot->compare_exchange_strong(word, taken_from(word), std::memory_order_acq_rel)) {
        return true;
      }
      const std::uintptr_t again = task->slot.load(std::memory_order_acquire);
      if (again == at) return false;
      at = again;  // It moved to a larger ring meanwhile.
    }
  }

  /// As claim(), for the owner: pops it when it is the newest, so that no hole is left.
  bool claim_own(Task* task);

  bool looks_empty() const noexcept {
    return top_.load(std::memory_order_relaxed) >= bottom_.load(std::memory_order_relaxed);
  }
  std::size_t size_hint() const noexcept {
    const std::uint64_t t = top_.load(std::memory_order_relaxed);
    const std::uint64_t b = bottom_.load(std::memory_order_relaxed);
    return t < b ? static_cast<std::size_t>(b - t) : 0;
  }

private:
  static bool is_task(std::uintptr_t word) noexcept { return word >= kTaskMin; }
  static bool holds(std::uintptr_t word, const Task* task) noexcept {
    return (word & ~kFlags) == reinterpret_cast<std::uintptr_t>(task);
  }
  static Task* task_in(std::uintptr_t word) noexcept {
    return reinterpret_cast<Task*>(word & ~kFlags);
  }
  static bool is_taken(std::uintptr_t word) noexcept { return (word & ~kFlags) == kTaken; }
  static std::uintptr_t taken_from(std::uintptr_t word) noexcept {
    return kTaken | (word & kFlags);
  }

  struct Ring {
    explicit Ring(std::size_t count) : slots(new Slot[count]()), capacity(count) {}
    std::unique_ptr<Slot[]> slots;
    std::size_t capacity;
  };

  void make_room();
  void settle(std::uint64_t b, std::uint64_t end);
  void empty_until(std::uint64_t end);

  // Owner only.
  alignas(kCacheLine) Slot* slots_;
  std::size_t capacity_;
  std::uint64_t top_seen_ = 0;  // A top read earlier: never above the real one.
  const void* last_family_ = nullptr;
  std::vector<std::unique_ptr<Ring>> rings_;  // Old ones stay: others may hold addresses in them.

  alignas(kCacheLine) std::atomic<std::uint64_t> bottom_{0};  // Written by the owner only.
  std::atomic<Ring*> ring_;                                   // Published for thieves.
  alignas(kCacheLine) std::atomic<std::uint64_t> top_{0};
  std::atomic<bool> thief_{false};  // One thief at a time.
};

[[gnu::always_inline]] inline bool Lane::claim_own(Task* task) {
  const std::uint64_t b = bottom_.load(std::memory_order_relaxed) - 1;
  Slot* slot = &slots_[b & (capacity_ - 1)];
  if (task->slot.load(std::memory_order_acquire) != reinterpret_cast<std::uintptr_t>(slot) ||
      !holds(slot->load(std::memory_order_relaxed), task)) {
    return claim(task);
  }
  // The newest. The holes right below it go with it: one barrier serves for all of them.
  std::uint64_t lowest = b;
  const std::uint64_t t = top_.load(std::memory_order_relaxed);
  while (lowest > t) {
    Slot& hole = slots_[(lowest - 1) & (capacity_ - 1)];
    if (!is_taken(hole.load(std::memory_order_relaxed))) break;
    hole.store(0, std::memory_order_relaxed);
    --lowest;
  }
  bottom_.store(lowest, std::memory_order_relaxed);
  const bool taken = is_task(slot->exchange(0, std::memory_order_seq_cst));
  // Taken, and no hole that a thief may have passed: nobody is past it.
  if (!taken || lowest != b) settle(lowest, b + 1);
  return taken;
}

}  // namespace ray::detail
