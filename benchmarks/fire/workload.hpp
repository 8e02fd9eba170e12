#pragma once

// `fire`: n tasks without a result, submitted from outside the pool; then the main thread waits
// until all have run. Each counts itself in a cell of its thread, so that the answer is checked
// without a cache line that all of them share.

#include "harness.hpp"

#include <array>
#include <atomic>

namespace fire {

inline constexpr bench::Workload kWorkload{.name = "fire", .unit = "ns", .n = 1'000'000};

struct alignas(64) Cell {
  std::atomic<std::uint64_t> tasks{0};  // written by one thread, so load and store suffice
};

inline std::array<Cell, 4096> cells;
inline std::atomic<std::size_t> cells_taken{0};

inline Cell& own_cell() {
  thread_local Cell& cell = cells[cells_taken.fetch_add(1) % cells.size()];
  return cell;
}

inline void work() {
  std::atomic<std::uint64_t>& tasks = own_cell().tasks;
  tasks.store(tasks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/// How many tasks ran since the last call. Requires: none is running.
inline std::uint64_t take_count() {
  std::uint64_t sum = 0;
  for (Cell& cell : cells) sum += cell.tasks.exchange(0, std::memory_order_relaxed);
  return sum;
}

}  // namespace fire
