// The runtime from inside: what Engine's sources share. Each part says who may touch it.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <ray/runtime/engine.hpp>

#include "runtime/client.hpp"
#include "runtime/events.hpp"
#include "runtime/parker.hpp"
#include "runtime/timers.hpp"
#include "scheduler/resources.hpp"

namespace ray::detail {

/// What few tasks have. Owned by the task's record.
struct TaskExtra {
  std::string name;  // As given, but cut to kNameMax.
  Demand demand;
  bool has_demand = false;
  int max_retries = 0;
  bool retries_given = false;  // `max_retries` is what was asked for.
  bool retry_exceptions = false;
  int backpressure = 0;
  std::atomic<int> attempt{0};
  std::atomic<bool> stoppable{false};  // Stands in EngineParts::stoppables.
  std::atomic<std::uint64_t> timer{0};
  std::stop_source stop;
  std::unique_ptr<Order> order;  // Of a task that runs here for another process.
};

/// The extra of a task, made if it has none yet.
TaskExtra& extra_of(Task* task);
/// The name a person knows the task by: TaskOptions::name or the function's, fit to be printed.
std::string task_name(Object* object);

/// A thread's wait for several objects; told by each of them (waiting.cpp).
struct WaitSet {
  std::atomic<std::int64_t> remaining;
  bool stop_at_failure;
  std::atomic<bool> failed{false};
  Parker* parker;
  std::atomic<EngineParts*> parts{nullptr};  // Set once the waiter has given its slot there.
  std::atomic<bool> announced{false};        // It counts in `returning_count`.
  std::atomic<bool> hopeless{false};         // No thread is left for what it waits for.
  std::atomic<Object*> circle{nullptr};      // That one waits for the waiter in turn.
};

struct Worker {
  std::thread thread;
  std::atomic<Parker*> parker{nullptr};  // Set before the worker first sleeps.
  bool spare = false;                    // Beyond the base number; ends when long idle.
  bool ended = false;                    // Its own: it was idle for too long.
  std::atomic<bool> gone{false};         // The thread is at its end and may be joined.
  std::uint32_t number = 0;
};

/// A running task that asked for its stop token; found here by cancel.
struct Stoppable {
  std::uint64_t parent = 0;
  std::stop_source stop;
};

struct EngineParts {
  EngineParts(Engine& owner, const RuntimeOptions& given);

  Engine& engine;
  // Constant after construction.
  RuntimeOptions options;
  int base_threads = 1;
  int max_threads = 0;
  Clock::time_point started = Clock::now();

  // Lanes. The array only grows; a lane stays for the engine's life and is handed on.
  static constexpr std::uint32_t kLanesMax = 8192;
  std::array<std::atomic<Lane*>, kLanesMax> lanes{};
  std::atomic<std::uint32_t> lane_count{0};
  std::mutex lanes_mutex;
  std::vector<std::unique_ptr<Lane>> owned_lanes;  // Guarded by lanes_mutex.
  std::vector<Lane*> idle_lanes;                   // Guarded by lanes_mutex.

  // Threads.
  std::mutex threads_mutex;
  std::vector<std::unique_ptr<Worker>> workers;  // Guarded by threads_mutex.
  bool no_more_threads = false;                  // Guarded by threads_mutex.
  std::atomic<int> thread_count{0};
  std::atomic<std::uint32_t> numbers{0};
  std::mutex sleep_mutex;
  std::vector<Worker*> sleeping;  // Guarded by sleep_mutex.
  std::atomic<int> nappers{0};    // Sleepers that look for themselves every now and then.
  std::atomic<bool> stopping{false};
  std::atomic<bool> joining{false};  // Workers end when they find nothing more.
  std::atomic<int> cpu_wanted{0};    // Tasks in `waiting` lack CPU: slots go to them first.

  // Threads whose wait is over and that want their slot back.
  std::mutex returning_mutex;
  std::vector<Parker*> returning;  // Guarded by returning_mutex.
  std::atomic<int> returning_count{0};

  // Errands: tasks that need no slot of their own. FIFO.
  std::mutex errands_mutex;
  std::deque<Task*> errands;
  std::atomic<std::size_t> errand_count{0};

  // Tasks whose resources are taken.
  std::mutex ledger_mutex;
  ResourceLedger ledger;                         // Guarded by ledger_mutex.
  std::deque<std::pair<Demand, Task*>> waiting;  // Guarded by ledger_mutex.

  std::atomic<int> granted_count{0};  // Tasks and actors that hold reserved resources.

  // Cancellation of what cancelled tasks had started (bounded: the oldest are forgotten).
  static constexpr std::size_t kCancelledMax = 65536;
  std::mutex cancel_mutex;
  std::array<std::atomic<std::uint64_t>, 64> cancelled_bloom{};  // A bit for each, by its hash.
  std::unordered_set<std::uint64_t> cancelled;                   // Guarded by cancel_mutex.
  std::deque<std::uint64_t> cancelled_order;
  std::unordered_map<std::uint64_t, Stoppable> stoppables;

  // Coroutines that are suspended: ended at shutdown. Guarded by suspended_mutex.
  std::mutex suspended_mutex;
  std::unordered_map<Task*, CoroutineWaiter*> suspended;

  // Who waits for what, for the search for cycles. Guarded by blocked_mutex.
  std::mutex blocked_mutex;
  struct Wait {
    std::vector<Object*> objects;  // Each of them is needed; none if a part is, or for a time.
    WaitSet* set;
  };
  std::unordered_map<ThreadContext*, Wait> blocked;
  std::atomic<bool> circles_armed{false};
  std::size_t circle_cursor = 0;       // The timer thread's.
  std::atomic<int> stalled{0};         // Threads in get without a deadline, inside a task.
  std::atomic<int> drivers_inside{0};  // Drivers that run a task which they wait for.

  std::mutex actors_mutex;
  std::unordered_map<std::string, ActorCore*> named_actors;  // Guarded by actors_mutex.
  std::unordered_set<ActorCore*> actors;                     // All alive.

  Events events;
  Timers timers;
  std::unique_ptr<Client> client;  // Where tasks are sent to other processes.

  bool work_visible(bool slot_too = true) const;
  bool slot_available() const;
  std::int64_t free_cpus() const { return engine.free_cpus_.load(std::memory_order_relaxed); }
  bool try_take_slot(std::int64_t units = kCpuUnit);
  bool take_free(std::int64_t units);
  void give_slot(std::int64_t units);
  void wake_returning();
  /// A slot has become free: somebody is woken if there is a task for it.
  void wake_for_work();
  /// After a wait: the slot is this thread's again. It comes before new work, and waits for a free
  /// one for kTakeBackWithin at most: then it takes it even if that leaves less than none.
  /// `announced`: it counts in `returning_count` already.
  void take_back(std::int64_t units, bool announced);
  /// Starts what the freed resources allow.
  void pump();
  void reserve_or_queue(Task* task, const Demand& demand);
  void release_demand(const Demand& demand);

  Task* find_work(ThreadContext& context);
  Task* pop_errand();
  void find_threads_for_errands();
  void worker_main(Worker* worker);
  void idle(Worker* worker);
  bool poll_for_work();
  bool spawn_thread(bool spare);
  bool wake_one();
  /// Whether every thread that runs tasks waits for another, and none can be added.
  bool all_stalled() const;
  /// Then: one of them throws DeadlockError, and its thread goes on.
  void release_stalled();
  /// Sees that somebody looks for circles while any thread or coroutine waits.
  void arm_circle_search();
  void look_for_circles();
  /// The wait throws DeadlockError. Requires: blocked_mutex.
  static void end_circle(Wait& wait, Object* closed_by);
  void arm_monitor();
  void monitor_tick();
  std::atomic<bool> monitor_armed{false};
  int stalled_ticks = 0;  // The monitor's own.

  bool is_cancelled_child(Task* task);
  void request_stop(Task* task);
  void note_cancelled(std::uint64_t id);
  void cancel_children(std::uint64_t id);
  std::stop_token stop_token_of(Task* task);
  void forget_stoppable(Task* task, TaskExtra& extra);
};

/// The task is gone when this returns.
[[gnu::always_inline]] inline void Engine::run_task(Task* task, bool chains) {
  if ((task->sealed() || special_.load(std::memory_order_relaxed) != 0) && !admit(task)) return;
  ThreadContext& context = thread_context;
  Engine* const engine = context.engine;
  const std::int64_t held = context.cpu_held;
  Frame frame{.task = task, .below = context.frame, .chains = chains};
  context.engine = this;
  context.frame = &frame;
  if (task->has(kGranted)) [[unlikely]]
    context.cpu_held = extra_of(task).demand.cpu;
  task->ops->run(task);
  context.engine = engine;
  context.frame = frame.below;
  context.cpu_held = held;
}

/// Adds `waiter` to what waits for `object`; false if it is sealed already.
bool add_waiter(Object* object, Waiter* waiter) noexcept;
/// Takes it out again; false if the object was sealed meanwhile and the waiter is (being) told.
bool remove_waiter(Object* object, Waiter* waiter) noexcept;

/// While it lives, a driver runs here what it waits for; nothing where the thread is none.
class DriverInside {
public:
  DriverInside(EngineParts& parts, const ThreadContext& context)
      : count_(context.is_driver() ? &parts.drivers_inside : nullptr) {
    if (count_ != nullptr) count_->fetch_add(1, std::memory_order_seq_cst);
  }
  ~DriverInside() {
    if (count_ != nullptr) count_->fetch_sub(1, std::memory_order_seq_cst);
  }
  DriverInside(const DriverInside&) = delete;
  DriverInside& operator=(const DriverInside&) = delete;

private:
  std::atomic<int>* count_;
};

/// The end of a task: its objects get their seal if nobody gave them one, and the runtime's
/// reference goes. Requires: its arguments are released.
void seal_task(Task* task, std::uintptr_t seal) noexcept;
/// Whose result this object is; null for one that no task makes.
Task* producer_of(Object* object) noexcept;
/// A task whose last argument arrived goes where it can run.
void make_ready(Task* task) noexcept;
/// Keeps a task that waits for arguments from starting, and those where they are, until unpin();
/// false if all are there.
bool pin_waiting(Task* task) noexcept;
void unpin(Task* task) noexcept;

/// The worker number of a driver thread while it runs a task that it waits for.
inline constexpr std::uint32_t kDriverWorker = 0xffff'ffff;

// What the runtime tells of itself (report.cpp, runtime.cpp).
NodeId node_id_of(Engine& engine);
std::vector<NodeInfo> nodes_of(Engine& engine);
State state_of(Engine& engine);
void write_timeline(Engine& engine, const std::string& path);
std::string status_of(Engine& engine);

// Actors (actor_core.cpp).
void actor_post(Task* call);
bool actor_run_inline(Task* call);
/// The calls that keep `call` from going on, if its actor is what it waits for. Each of them would
/// have to end, or, unless `also_suspended`, to be suspended.
struct ActorBlockers {
  Task* first = nullptr;  // Counted: the actor's creation, or a held call. Nothing else counts.
  std::vector<const Task*> begun;
  bool also_suspended = false;
};
ActorBlockers actor_blockers(Task* call);
void actors_shutdown(EngineParts& parts);
/// A call ended on an actor that was killed to be restarted: whether it will run again there.
bool actor_retries(Task* call, std::uintptr_t seal);
/// Saves the state of the actor after a call, if that is due; how the call ends then: it fails
/// where what it did cannot be saved.
std::uintptr_t actor_save(Task* call, std::uintptr_t seal);
void actor_resume(Task* task);
/// A call ended that was made in another process.
void remote_call_ended(Task* call);
/// Why the object that a call had begun on was given up, in words.
std::string actor_end_of(Task* call);
/// Whether the object that a running call is inside of was given up by a kill.
bool actor_gave_up(Task* call);

}  // namespace ray::detail
