// The worker processes: which there are, what was sent to each and what it has begun, and the CPU
// slots that they take. A decider: no thread, lock or clock of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "task/id_map.hpp"
#include "task/messages.hpp"

namespace ray::detail {

using PoolTime = std::chrono::nanoseconds;

struct PoolLimits {
  std::int64_t cpu = 0;             // In units of Demand.
  std::uint32_t workers_max = 0;    // Those of actors included.
  std::uint32_t pipeline_max = 32;  // Tasks sent to one worker before it has begun them.
  PoolTime pipeline_time = std::chrono::microseconds(500);  // How long those may take.
};

constexpr std::size_t kCoroutinesMax = 1000;  // Calls of an actor that sets no limit to them.

/// A task at a worker.
struct LeasedTask {
  std::uint64_t task = 0;
  std::uint64_t function = 0;
  std::int64_t cpu = 0;  // What it takes while it runs.
  bool plain = false;    // It may be sent ahead to a busy worker.
  bool nested = false;   // Sent to be run on top of a task that is blocked.
  bool blocked = false;
  bool suspended = false;  // A coroutine among an actor's calls.
  bool waited = false;     // It was blocked or suspended: how long it took says little.
  PoolTime begun{0};
  PoolTime expected{0};  // How long it takes, as far as known when it was sent.
};

struct PoolWorker {
  enum class Phase : std::uint8_t { starting, ready, ending };
  ClientId client = 0;
  Phase phase = Phase::starting;
  std::int64_t pid = 0;
  std::uint64_t actor = 0;        // Whose process it is.
  std::vector<LeasedTask> sent;   // Not begun, in order.
  std::vector<LeasedTask> stack;  // Begun; the last is on top.
  IdMap<LeasedTask> suspended;    // Coroutines that wait.
  bool closed = false;            // It gave back what it had: it is about to wait.
  bool recalled = false;          // It was asked to give back what it has not begun.
  bool away = false;              // It waits for something, though it has no task.
  bool lends = false;             // It waits for a lost object.
  PoolTime since{0};              // When it came into its phase, or became idle.

  // An actor's calls run side by side: they stand in no order.
  IdMap<LeasedTask> calls;  // Sent, begun or not.
  std::size_t calls_begun = 0;
  std::size_t calls_blocked = 0;
  std::size_t calls_suspended = 0;
  std::size_t together = 1;   // So many calls at a time,
  std::size_t begun_max = 1;  // and so many with those that are suspended.
  std::int64_t actor_cpu = 0;

  bool has_task() const { return !sent.empty() || !stack.empty(); }
  /// It does something, or is about to: of an actor.
  bool calls_go_on() const {
    const std::size_t executing = calls_begun - calls_suspended;
    return executing > calls_blocked ||
           (calls.size() > calls_begun && executing < together && calls_begun < begun_max);
  }
  bool is_blocked() const { return !stack.empty() && stack.back().blocked; }

private:
  friend class Leases;
  std::int64_t charge = 0;
  bool lively = true;                // As is_lively() says.
  PoolTime expected{0};              // Of all that was sent and has not begun.
  std::optional<std::size_t> ahead;  // Its place in by_ahead_.
  std::optional<std::list<ClientId>::iterator> idle;
};

/// Invariant: what all workers are charged and free_cpu() make up the whole. It is negative for a
/// while when tasks go on that were blocked.
class Leases {
public:
  explicit Leases(PoolLimits limits) : limits_(limits), free_cpu_(limits.cpu) {}

  // --- processes ---

  /// The number of a new worker; none if there may be no more.
  std::optional<ClientId> start(PoolTime now);
  bool may_start() const noexcept { return workers_.size() < limits_.workers_max; }
  /// It said Hello. False if that is not its turn.
  bool greet(ClientId client, std::int64_t pid, PoolTime now);
  /// It was told to end, or is killed: nothing is sent to it any more.
  void end_soon(ClientId client, PoolTime now);
  /// It is gone; its slot is free. None if it was not there.
  std::optional<PoolWorker> end(ClientId client);

  const PoolWorker* find(ClientId client) const;
  std::vector<ClientId> clients() const;
  std::size_t size() const noexcept { return workers_.size(); }
  std::size_t starting() const noexcept { return starting_.size(); }
  /// The one that has been starting for longest.
  std::optional<ClientId> oldest_starting() const;
  std::size_t pool() const noexcept { return pool_; }  // Not of actors, not ending.
  /// Has tasks, or is on its way in or out: something will happen. Workers that are blocked,
  /// idle, or actors without a call do nothing of themselves, nor do coroutines that wait.
  std::size_t lively() const noexcept { return lively_; }
  bool is_lively(const PoolWorker& worker) const;

  // --- idle workers ---

  std::size_t idle() const noexcept { return idle_.size(); }
  /// The one that ran last. `alone`: of those that no coroutine will come back to.
  std::optional<ClientId> newest_idle(bool alone = false) const;
  /// The one that is idle for longest and that no coroutine will come back to.
  std::optional<ClientId> oldest_idle() const;

  // --- tasks ---

  std::int64_t free_cpu() const noexcept { return free_cpu_; }
  /// The worker is an actor's from here on and charged `cpu`.
  void give_to_actor(ClientId client, std::uint64_t actor, std::int64_t cpu,
                     std::int32_t max_concurrency);
  void send(ClientId client, const LeasedTask& task);
  /// False: it was not sent there.
  bool began(ClientId client, std::uint64_t task, PoolTime now);
  /// False: it was not sent there. Begun and done at once is fine.
  bool done(ClientId client, std::uint64_t task, PoolTime now);
  /// False: it was not sent there, or it has begun.
  bool give_back(ClientId client, std::uint64_t task, PoolTime now);
  /// False: it is not begun there, or it is so already.
  bool block(ClientId client, std::uint64_t task);
  bool unblock(ClientId client, std::uint64_t task);
  /// What its last task left behind waits for something: it gets no task until it is back.
  void set_away(ClientId client, bool away, PoolTime now);
  bool suspend(ClientId client, std::uint64_t task, PoolTime now);
  bool resume(ClientId client, std::uint64_t task);
  /// Whether it does nothing until a lost object is made again: others may use its CPUs meanwhile.
  void lend(ClientId client, bool lends);

  // --- tasks sent ahead ---

  /// A busy worker to which one more plain task of this function may be sent; none if all have
  /// enough to do.
  std::optional<ClientId> with_room(std::uint64_t function) const;
  /// The worker with most tasks that could be begun elsewhere.
  std::optional<ClientId> with_most_ahead() const;
  void recall(ClientId client);
  void recall_answered(ClientId client);
  /// How long a task of the function takes; none if none was measured.
  std::optional<PoolTime> mean(std::uint64_t function) const;

private:
  PoolWorker* worker(ClientId client);
  /// After each change: its charge, whether it is lively, and in which of the lists it stands.
  void settle(PoolWorker& worker, PoolTime now);
  std::int64_t charge_of(const PoolWorker& worker) const;
  bool set_suspended(PoolWorker& worker, std::uint64_t task, bool suspended);
  std::optional<std::size_t> ahead_of(const PoolWorker& worker) const;
  void measure(const LeasedTask& task, PoolTime now);

  PoolLimits limits_;
  std::int64_t free_cpu_;
  std::unordered_map<ClientId, PoolWorker> workers_;
  std::set<std::pair<PoolTime, ClientId>> starting_;
  std::list<ClientId> idle_;  // The one that ran last is at the back.
  std::set<std::pair<std::size_t, ClientId>> by_ahead_;
  std::unordered_map<std::uint64_t, double> means_;  // In nanoseconds, by function.
  std::size_t lively_ = 0;
  std::size_t pool_ = 0;
  ClientId last_ = kDriverClient;
};

}  // namespace ray::detail
