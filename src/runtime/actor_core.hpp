// See include/ray/runtime/actor_core.hpp. State and events of an actor:
//
//   state \ event   constructed      threw             kill(restart)     kill / last handle gone
//   pending         alive            restarting|dead   restarting|dead   dead
//   alive           -                -                 restarting|dead   dead (in order: after its
//   calls) restarting      alive            restarting|dead   restarting|dead   dead dead object
//   destroyed -                 -                 -
//
// "restarting|dead": restarting while restarts are left. Everything here is guarded by `mutex`,
// except what is constant; user code never runs under it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <ray/runtime/actor_core.hpp>

#include "runtime/parts.hpp"

namespace ray::detail {

/// The actor's object, one per (re)start. Destroyed when dead and no call is inside any more.
struct Instance {
  void* object = nullptr;
  int users = 0;  // Calls that have begun and not ended.
  bool dead = false;
  std::string end;  // Why, once it is dead.
};

/// A first-in-first-out list of calls through their `next`.
struct CallQueue {
  Task* head = nullptr;
  Task* tail = nullptr;
  std::size_t size = 0;

  void push_back(Task* call) noexcept;
  void push_front(Task* call) noexcept;
  Task* pop_front() noexcept;
};

/// Calls that share a limit. Group 0 is the actor's own.
struct Group {
  std::string name;
  int running_max = 1;   // Threads inside at once.
  int begun_max = 1000;  // With suspended coroutines.
  int turns = 0;         // Turns queued or running.
  int executing = 0;     // Those of them that are inside a call.
  int begun = 0;
  CallQueue calls;
  CallQueue resumed;
  Task* waiting_turn = nullptr;  // Queued and unclaimed; only while turns == 1.
};

struct HeldCall {
  Task* call;
  bool ready;
};

struct ActorCore {
  // Constant after make_actor().
  std::uint64_t id = 0;
  std::uint16_t engine_index = 0;
  const ActorClass* cls = nullptr;
  ActorOptions options;
  Demand demand;

  bool saves = false;   // Its state outlives its object (actor_checkpoints.cpp).
  bool remote = false;  // Lives in another process: this stands for it, and has no object.

  std::atomic<std::uint32_t> refs{1};
  std::atomic<std::uint32_t> handles{1};

  std::mutex mutex;
  ActorState state = ActorState::pending_creation;
  Creation* creation = nullptr;
  bool creating = true;  // The creation is queued or runs; it ends in actor_constructed().
  std::shared_ptr<Instance> instance;
  std::vector<std::unique_ptr<Group>> groups;
  std::vector<Task*> begun;  // Calls inside the object, running or suspended.
  std::unordered_map<std::uint64_t, std::deque<HeldCall>> held;  // By caller.
  std::size_t held_count = 0;
  std::size_t pending = 0;  // Submitted (with max_pending_calls: accepted), not ended.
  std::uint64_t finished = 0;
  int restarts = 0;
  int unsaved = 0;                // Calls that ended since the state was saved.
  std::uint64_t checkpoints = 0;  // Begun so far: each has a number.
  std::uint64_t saved_number = 0;
  std::shared_ptr<void> saved;  // The newest state, from which it starts again.
  bool granted = false;         // Its resources are taken.
  std::exception_ptr death;
};

/// A piece of an actor's work, queued among the errands.
struct Turn : Task {
  using Task::Task;
  ActorCore* core = nullptr;
  std::uint32_t group = 0;
  std::atomic<bool> taken{false};
};
/// The ops of a Turn; its `run` is in actor_turns.cpp.
void run_turn_task(Task* task);

/// What follows once the lock is gone.
struct Afterwards {
  explicit Afterwards(const ActorCore& core) : scope(&core), engine(scope.engine()) {}

  ActorScope scope;
  Engine* engine;  // Null when it is gone: then the actor is dead.
  std::vector<Task*> turns;
  std::vector<Task*> dead_calls;
  std::exception_ptr reason;
  std::vector<void*> objects;
  const ActorClass* cls = nullptr;
  Demand demand;
  bool release_demand = false;
  bool demand_waits = false;  // Its creation may stand in line at the ledger.
  Creation* construct = nullptr;
  Creation* drop_creation = nullptr;
  std::string forget_name;
  std::shared_ptr<void> saved;
  ActorCore* forget = nullptr;

  void run();

private:
  void fail(Task* call);
};

// The rules, in actor_core.cpp. All require the lock.

/// Queues turns for what may start.
void schedule(ActorCore& core, Group& group, Afterwards& after);
void drop_waiting_turn(Group& group);
void leave_instance(ActorCore& core, const std::shared_ptr<Instance>& instance, Afterwards& after);
/// The actor is dead for good: everything it holds goes.
void bury(ActorCore& core, std::exception_ptr reason, Afterwards& after);
/// Ends it in order when nobody can call it any more.
void bury_if_done(ActorCore& core, Afterwards& after);

// What making and killing an actor need of its mailbox (actor_core.cpp).

/// The creation ran: `object`, or why there is none.
void actor_constructed(ActorCore& core, void* object, std::exception_ptr error);
void actor_bury(ActorCore& core, std::exception_ptr reason);
void actor_bury_if_done(ActorCore& core);
/// The object is given up, as `end` says, and made anew; false if no restarts are left.
bool actor_begin_restart(ActorCore& core, std::string end);
/// A core with its options, not known to anybody yet.
std::unique_ptr<ActorCore> new_actor_core(Engine& engine, const ActorClass* cls, std::uint64_t id,
                                          const ActorOptions& options);
[[noreturn]] void throw_name_taken(const std::string& name, const std::string& class_name);
[[noreturn]] void throw_no_actor(std::string_view name);
[[noreturn]] void throw_other_class(std::string_view name, const std::string& there,
                                    std::string_view wanted);
/// Another handle, unless the last one is gone.
bool try_retain_handle(ActorCore* core);
/// Puts a core among those of its engine; a creation is its own from here on.
ActorCore* enter_actor(Engine& engine, std::unique_ptr<ActorCore> core, Creation* creation);
/// The class and the name of an actor, as messages say it.
std::string actor_title(const ActorCore& core);

}  // namespace ray::detail
