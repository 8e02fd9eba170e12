#include "runtime/parker.hpp"

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <mutex>

#include "task/timespec.hpp"

namespace ray::detail {

namespace {

long futex(std::atomic<std::uint32_t>* word, int operation, std::uint32_t value,
           const timespec* timeout) noexcept {
  return ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), operation, value, timeout,
                   nullptr, FUTEX_BITSET_MATCH_ANY);
}

std::mutex idle_parkers_mutex;
Parker* idle_parkers = nullptr;  // Guarded by idle_parkers_mutex.
std::atomic<int> bells_made{0};

}  // namespace

struct ParkerLease {
  Parker* parker = nullptr;
  Parker& get() {
    if (parker == nullptr) {
      const std::lock_guard lock(idle_parkers_mutex);
      if (idle_parkers != nullptr) {
        parker = idle_parkers;
        idle_parkers = parker->next_idle_;
      }
    }
    if (parker == nullptr) parker = new Parker;
    return *parker;
  }
  ~ParkerLease() {
    if (parker == nullptr) return;
    const std::lock_guard lock(idle_parkers_mutex);
    parker->next_idle_ = idle_parkers;
    idle_parkers = parker;
    parker = nullptr;
  }
};

Parker& Parker::mine() {
  thread_local ParkerLease lease;
  return lease.get();
}

void Parker::park_until(const Clock::time_point* deadline) noexcept {
  // acquire: pairs with the release in unpark().
  if (permit_.exchange(0, std::memory_order_acquire) != 0) return;
  if (deadline == nullptr) {
    futex(&permit_, FUTEX_WAIT_BITSET_PRIVATE, 0, nullptr);
  } else {
    const timespec until = to_timespec(deadline->time_since_epoch());
    futex(&permit_, FUTEX_WAIT_BITSET_PRIVATE, 0, &until);  // steady_clock is CLOCK_MONOTONIC.
  }
  permit_.exchange(0, std::memory_order_acquire);
}

void Parker::unpark() noexcept {
  // seq_cst: either we see the bell, or the thread that is about to rest sees the permit.
  if (permit_.exchange(1, std::memory_order_seq_cst) != 0) return;
  futex(&permit_, FUTEX_WAKE_PRIVATE, 1, nullptr);
  const int bell = bell_.load(std::memory_order_seq_cst);
  if (bell >= 0) ::eventfd_write(bell, 1);
}

int Parker::bells() noexcept { return bells_made.load(std::memory_order_relaxed); }

int Parker::rest_begins() {
  if (own_bell_ < 0) {
    own_bell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (own_bell_ >= 0) bells_made.fetch_add(1, std::memory_order_relaxed);
  }
  bell_.store(own_bell_, std::memory_order_seq_cst);
  if (permit_.load(std::memory_order_seq_cst) == 0) return own_bell_;
  rest_ends();
  return -1;
}

void Parker::rest_ends() noexcept {
  bell_.store(-1, std::memory_order_seq_cst);
  permit_.exchange(0, std::memory_order_acquire);
  eventfd_t rings = 0;
  ::eventfd_read(own_bell_, &rings);
}

}  // namespace ray::detail
