// Tasks before they run: those that wait for objects, and those that wait for a worker. A decider:
// no thread, lock or clock of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "scheduler/resources.hpp"
#include "task/demand.hpp"
#include "task/id_map.hpp"

namespace ray::detail {

/// CPUs that a plain task takes.
inline constexpr std::int64_t kPlainCpu = 10'000;

inline bool is_plain_demand(const Demand& demand) {
  return demand.cpu == kPlainCpu && demand.others.empty();
}

class TaskQueue {
public:
  explicit TaskQueue(Demand total);

  // --- waiting for objects ---

  /// The task waits until each of these was named by sealed(), as often as it stands here.
  void wait(std::uint64_t task, std::span<const std::uint64_t> objects);
  struct Woken {
    std::uint64_t task;
    bool complete;  // It waits for nothing any more.
  };
  /// Those that waited for it, in the order in which they came.
  std::vector<Woken> sealed(std::uint64_t object);
  bool is_waiting(std::uint64_t task) const { return waiting_.contains(task); }

  // --- ready ---

  /// At the end of those with the same demand, or before all of them.
  void push(std::uint64_t task, const Demand& demand, bool first = false);
  /// The oldest whose demand fits into what is there and `cpu`; what else it asks for is taken.
  /// What an older one is short of is given to no younger one.
  std::optional<std::uint64_t> pick(std::int64_t cpu);
  /// Whether pick() would give one.
  bool has_fitting(std::int64_t cpu);
  /// The oldest plain task, for a worker that has its CPU already; none while an older one
  /// waits for CPUs.
  std::optional<std::uint64_t> pick_plain(std::int64_t cpu);
  /// The one pick_plain() would give.
  std::optional<std::uint64_t> peek_plain(std::int64_t cpu);
  std::size_t ready() const noexcept { return ready_.size(); }
  bool plain_is_oldest() const;
  std::vector<std::uint64_t> all_ready() const;

  /// It is neither waiting nor ready any more.
  void forget(std::uint64_t task);

  ResourceLedger& ledger() noexcept { return ledger_; }
  const ResourceLedger& ledger() const noexcept { return ledger_; }

private:
  struct Ticket {
    std::uint64_t task;
    std::int64_t number;  // Of this stay; who left and came back has another one.
  };
  struct Waiting {
    std::int64_t number;
    std::size_t missing;
  };
  struct Line {
    Demand demand;
    std::deque<Ticket> tasks;
    std::size_t count = 0;  // Of those that are still there.
    std::int64_t age = 0;   // Its number in by_age_.
    bool listed = false;
  };
  struct Ready {
    std::int64_t number;
    Line* line;
  };

  Line& line_of(const Demand& demand);
  /// Leaves the first task of a line at its head and the line where its age puts it.
  void settle(Line& line);
  std::uint64_t take_first(Line& line);
  /// The first line whose first task fits.
  Line* fitting(std::int64_t cpu);

  ResourceLedger ledger_;
  IdMap<Waiting> waiting_;
  IdMap<std::vector<Ticket>> waiters_;
  IdMap<Ready> ready_;
  Line plain_;
  std::map<std::string, Line> lines_;  // By demand, as text; the plain one is apart.
  std::set<std::pair<std::int64_t, Line*>> by_age_;
  std::int64_t newest_ = 0;
  std::int64_t oldest_ = 0;
};

}  // namespace ray::detail
