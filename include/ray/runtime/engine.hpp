// What the API's templates need of a runtime: a thread's context, submitting, committing and
// waiting. The rest of the runtime is compiled once, in src/runtime.
//
// One call: remote<F>(…) makes a record and calls launch(); the task goes into the submitting
// thread's lane; a worker steals it, or a thread that waits for it claims it; run() calls F and
// then complete(), which seals the object and makes ready what waited for it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <ray/options.hpp>
#include <ray/scheduler/lane.hpp>
#include <ray/task/record.hpp>
#include <ray/task/slab.hpp>

namespace ray::detail {

class Engine;
struct EngineParts;  // What only src/runtime sees.
class Parker;

using Clock = std::chrono::steady_clock;

/// One CPU in the units in which slots are counted.
inline constexpr std::int64_t kCpuUnit = 10'000;

/// A task on a thread's stack; it waits for the one on top of it. Lives in run_task().
struct Frame {
  Task* task = nullptr;
  Frame* below = nullptr;
  std::uint64_t id = 0;        // The task's (or the driver thread's) once it has made something.
  std::uint32_t children = 0;  // Tasks and objects it has made.
  bool chains = false;         // Whether the loop below runs a successor that it makes ready.
  ActorCore* actor = nullptr;  // Whose constructor runs here.
};

class EngineScope;

inline constexpr std::uintptr_t kUnknownStack = ~std::uintptr_t{0};

/// A thread as the runtime sees it. Threads: its own only.
struct ThreadContext {
  Engine* engine = nullptr;  // The runtime whose task runs here, or whose worker this is.
  Lane* lane = nullptr;
  std::uint64_t lane_engine = 0;  // Serial of the engine the lane belongs to.
  Frame* frame = nullptr;         // What runs now, on top of what waits for it.
  std::int64_t cpu_held = 0;      // CPU taken for what runs here, in 1/kCpuUnit.
  bool is_worker = false;
  bool coroutine_ended = false;  // Set by final_suspend for the resume() that led there.
  std::uint32_t worker_number = 0;
  std::uint32_t steal_from = 0;
  void* instance = nullptr;             // The object that an actor's method runs on.
  const Task* finished_call = nullptr;  // The actor call that ended last on this thread.
  Parker* parker = nullptr;
  /// Below it nothing more is run on top; kUnknownStack before anybody asked.
  std::uintptr_t stack_limit = kUnknownStack;
  Task* next_task = nullptr;      // A successor to run next on this thread.
  bool wants_next = false;        // Set only while a task of a chain is being completed.
  EngineScope* scopes = nullptr;  // What keeps engines alive for this thread.
  Frame driver;                   // Stands for the thread itself, outside of all tasks.

  /// The task that runs here; null on a driver.
  Task* task() const noexcept { return frame == nullptr ? nullptr : frame->task; }
  /// Whether it is none of a runtime's workers and outside of all tasks.
  bool is_driver() const noexcept { return task() == nullptr && !is_worker; }
  /// Whose child a thing is that is made here.
  Frame& family() noexcept { return frame == nullptr ? driver : *frame; }
};
extern constinit thread_local ThreadContext thread_context;

/// Frees what a record carries beside its types; called by `ObjectOps::destroy`.
void free_extra(TaskExtra* extra) noexcept;

/// The context, read afresh: code that may be resumed on another thread must not keep the address.
[[gnu::noinline]] ThreadContext& current_context() noexcept;

/// The runtime of one process, one node. Owns: its worker threads, lanes, actors' names.
/// Threads: all members may be called from any thread.
class Engine {
public:
  explicit Engine(const RuntimeOptions& options);
  /// Of a worker process: its tasks come from a node elsewhere.
  struct WorkerRole {};
  Engine(const RuntimeOptions& options, WorkerRole);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// The runtime that free functions act on: that of the running task, else the process's own,
  /// which is started if there is none.
  static Engine& current() {
    Engine* engine = thread_context.engine;
    return engine != nullptr ? *engine : process_engine();
  }
  static Engine& process_engine();
  /// The index of the one that current() would give; 0 if it would have to be started.
  static std::uint16_t index_here() noexcept;

  /// Gives the task its place in the family: parent, index, site. Returns after that.
  void adopt(Task* task, SourceSite site) {
    const auto [parent, child] = next_identity();
    task->parent = parent;
    task->index = child;
    task->engine = index_;
    task->site = site.packed();
    if ((special_.load(std::memory_order_relaxed) & kTracing) != 0) [[unlikely]]
      trace(task);
  }
  /// The same for a thing that is no task.
  std::pair<std::uint64_t, std::uint32_t> next_identity() {
    Frame& family = thread_context.family();
    if (family.id == 0) [[unlikely]]
      family.id = family.task != nullptr ? family.task->task_id() : driver_id();
    return {family.id, family.children++};
  }

  /// Checks the options and notes what differs from the defaults. Throws InvalidArgumentError.
  void apply(Task* task, const TaskOptions& options);
  /// Cancels the task when the time is over. After everything that may throw, before its launch.
  void arm_timeout(Task* task, std::chrono::nanoseconds timeout);

  /// Submits a task whose arguments are all there. Takes over one reference.
  void launch_ready(Task* task) {
    if (task->extra.load(std::memory_order_relaxed) != nullptr || task->has(kNoCpu) ||
        (special_.load(std::memory_order_relaxed) & ~kCancels) != 0) [[unlikely]] {
      launch_slow(task);
      return;
    }
    enqueue(task);
  }
  /// The same for a task without options.
  void launch_plain(Task* task) {
    if ((special_.load(std::memory_order_relaxed) & ~kCancels) != 0) [[unlikely]] {
      launch_slow(task);
      return;
    }
    enqueue(task);
  }
  /// Whether tasks are sent to other processes.
  bool is_remote() const noexcept {
    return (special_.load(std::memory_order_relaxed) & kRemoteTasks) != 0;
  }
  /// A value was put: where processes share a store, a large one goes there. Throws
  /// ObjectStoreFullError; the object is freed then.
  void put(Object* object) {
    if (is_remote()) [[unlikely]]
      put_remote(object);
  }
  void put_remote(Object* object);
  /// As put() of one that holds no value yet (kEncoded): what `write` makes of `value` goes to the
  /// store. False if it is too small for that, or cannot leave this process.
  bool put_encoded(Object* object, const void* value, void (*write)(OutputArchive&, const void*));
  /// Sends a task off, whether its arguments are there or not; the record becomes the placeholder
  /// of its result. Takes over one reference.
  void launch_remote(Task* task);
  /// Submits a task that waits for arguments: `missing` counts those registered with
  /// wait_for_argument, plus one of the caller's, which this gives back.
  void launch_waiting(Task* task);
  /// Registers `task` with an argument; false if that is sealed already.
  static bool wait_for_argument(Object* argument, Waiter* node, Task* task) noexcept;

  /// An argument of a task that waits for others had failed already: the task's object fails now.
  /// Requires: the caller's part of `missing` is not given back yet.
  static void fail_waiting(Task* task, Object* argument);

  /// Puts a ready task into this thread's lane and sees that somebody takes it.
  void enqueue(Task* task) {
    ThreadContext& context = thread_context;
    if (context.lane_engine != serial_ && !attach_lane()) [[unlikely]] {
      enqueue_errand(task);
      return;
    }
    context.lane->push(task, context.frame);
    notify();
  }

  /// Waits until `object` is sealed, helping with it where that is sound; false at the deadline.
  /// Throws DeadlockError where it never can be.
  static bool wait(Object* object, const Clock::time_point* deadline = nullptr);
  /// The same without a deadline, for an object that is pending: returns its seal.
  static std::uintptr_t await(Object* object);
  /// Runs those of the objects that nobody has begun: inside a task all of them, until one has
  /// failed; a driver just the first, and leaves the rest to the workers. Does not sleep.
  static void help_with(Object* const* objects, std::size_t size);
  /// Waits until `count` of the objects are sealed, or the deadline; true if they are.
  /// With `stop_at_failure` it also returns when one of them failed.
  static bool wait_many(Object* const* objects, std::size_t size, std::size_t count,
                        bool stop_at_failure, const Clock::time_point* deadline);

  /// Ends a task: arguments released, object sealed with `seal` (or its value dropped, if somebody
  /// sealed it before), dependants made ready, one reference given back. Called by what `run`
  /// points to, last.
  void complete(Task* task, std::uintptr_t seal);
  /// Its last part: what comes after the arguments' release.
  void seal_result(Task* task, std::uintptr_t seal);
  /// The end of a task that ran in another process; its value or failure lies in its place.
  void complete_remote(Task* task, std::uintptr_t seal);
  /// The task threw `error`. Retries it or stores the failure in its place of value and completes
  /// it.
  void fail(Task* task, std::exception_ptr error);
  /// The task fails because `argument` failed.
  void fail_from(Task* task, Object* argument);

  /// Where a ready task goes: into a lane, to the resource ledger, or to its actor.
  void dispatch(Task* task);

  static void cancel(Object* object, CancelOptions options);

  std::uint16_t index() const noexcept { return index_; }
  std::uint64_t serial() const noexcept { return serial_; }
  EngineParts& parts() noexcept { return *parts_; }
  static Engine* by_index(std::uint16_t index) noexcept;
  /// In the child of a fork: nobody finds it any more.
  static void forget(Engine& engine) noexcept;

  /// Makes sure that somebody runs what was just queued. Cheap when nobody sleeps.
  void notify() {
    light_barrier();
    if (sleepers_.load(std::memory_order_relaxed) > spinners_.load(std::memory_order_relaxed) ||
        deficit_.load(std::memory_order_relaxed) > 0) [[unlikely]] {
      notify_slow();
    }
  }

  /// Runs a ready task that was taken out of its lane, on top of what runs here. `chains`: the
  /// caller runs `next_task` next.
  void run_task(Task* task, bool chains = false);
  /// The same, then each successor that it made ready, one after the other.
  void run_chain(Task* task);
  /// Queues a task that needs no CPU slot; any thread may take it.
  void enqueue_errand(Task* task);
  /// A coroutine is about to wait for `waiter.awaited`: false if that is there already. When it
  /// comes, or the task is cancelled, the task is run again (kResumed).
  bool suspend(CoroutineWaiter& waiter);
  /// A coroutine that waited may go on: back to where its code runs.
  void resume(Task* task);
  /// Resumes it if it is suspended; false if somebody else did.
  bool wake_suspended(Task* task);
  /// If the coroutine still waits for `awaited`, its co_await throws DeadlockError.
  void end_circle(Task* coroutine, Object* awaited);
  /// How many unread items a generator's stream may hold.
  static std::size_t backpressure_of(Task* task) noexcept;
  /// Notes an argument in the task's story. Requires: the task has one (kTraced).
  void trace_argument(Task* task, Object* argument, std::size_t position);

private:
  friend struct EngineParts;
  friend class Client;

  void start();

  /// Pairs with the heavy_barrier() of a thread that is about to sleep: either it sees what we
  /// queued, or we see that it sleeps. Where the kernel has no membarrier, both are full fences.
  static void light_barrier() noexcept {
    if (asymmetric_.load(std::memory_order_relaxed)) [[likely]] {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      fence_word_.fetch_add(0, std::memory_order_seq_cst);
    }
  }

  static void heavy_barrier() noexcept;
  static std::uint64_t driver_id();
  static bool run_awaited(Object* object);
  static bool wait_awake(Object* object);
  /// Gives this thread a lane; false if all are taken.
  bool attach_lane();
  void launch_slow(Task* task);
  bool admit(Task* task);
  void cancel_here(Task* task, std::uintptr_t seal = kCancelled);
  void drain();
  bool help(Task* task);
  bool help_ancestor(Task* task);
  void notify_slow();
  void trace(Task* task);
  void note_end(Task* task, std::uintptr_t seal);

  static std::atomic<bool> asymmetric_;  // Whether the kernel has membarrier; the same for all.
  static std::atomic<int> fence_word_;

  std::uint16_t index_ = 0;
  std::uint64_t serial_ = 0;
  enum Special : unsigned { kTracing = 1, kStopping = 2, kCancels = 4, kRemoteTasks = 8 };
  std::atomic<unsigned> special_{0};  // Why tasks must be looked at before they start.

  // The idle line: read at every submission, written when threads go idle or wake.
  alignas(kCacheLine) std::atomic<int> sleepers_{0};
  std::atomic<int> spinners_{0};  // 0, or kNoWake while one spins.
  std::atomic<int> deficit_{0};   // Slots whose thread is blocked, with no thread in its stead.

  alignas(kCacheLine) std::atomic<std::int64_t> free_cpus_{0};  // May go below 0: see docs.
  std::unique_ptr<EngineParts> parts_;
};

/// Throws InvalidArgumentError in the child of a fork in whose parent a runtime lived.
void refuse_after_fork();

/// More than there are threads: while one spins, nobody is woken.
inline constexpr int kNoWake = 1 << 30;

/// An engine that is not torn down while this lives: the thread is inside of it, or counted.
class EngineScope {
public:
  explicit EngineScope(std::uint16_t index) : engine_(thread_context.engine) {
    if (engine_ == nullptr || engine_->index() != index) [[unlikely]]
      enter(index);
  }
  /// That of the thread itself if it is inside one, whichever that is.
  static EngineScope own_or(std::uint16_t index) {
    const Engine* own = thread_context.engine;
    return EngineScope(own != nullptr ? own->index() : index);
  }
  ~EngineScope() {
    if (counted_ != 0) [[unlikely]]
      leave();
  }
  EngineScope(const EngineScope&) = delete;
  EngineScope& operator=(const EngineScope&) = delete;

  /// Null when it is gone.
  Engine* engine() const noexcept { return engine_; }
  /// Whether this thread keeps that engine alive by a scope.
  static bool holds(std::uint16_t index) noexcept;

private:
  void enter(std::uint16_t index);
  void leave();

  std::uint16_t counted_ = 0;     // Its index, unless the thread is inside.
  EngineScope* below_ = nullptr;  // The thread's scope before this one, when counted.
  Engine* engine_;
};

}  // namespace ray::detail
