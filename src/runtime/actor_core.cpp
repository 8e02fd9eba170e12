// An actor's mailbox and its turns.
#include "runtime/actor_core.hpp"

#include <algorithm>

#include <ray/error.hpp>

namespace ray::detail {

void CallQueue::push_back(Task* call) noexcept {
  call->set_next(nullptr);
  if (tail != nullptr) {
    tail->set_next(call);
  } else {
    head = call;
  }
  tail = call;
  ++size;
}

void CallQueue::push_front(Task* call) noexcept {
  call->set_next(head);
  head = call;
  if (tail == nullptr) tail = call;
  ++size;
}

Task* CallQueue::pop_front() noexcept {
  Task* call = head;
  if (call == nullptr) return nullptr;
  head = call->next();
  if (head == nullptr) tail = nullptr;
  --size;
  return call;
}

namespace {

constexpr int kTurnCalls = 256;  // After so many calls a turn lets others run.

ActorCore* core_of(Task* call) { return static_cast<ActorCall*>(call)->core; }
Group& group_of(ActorCore& core, Task* call) {
  return *core.groups[static_cast<ActorCall*>(call)->group];
}

/// A piece of an actor's work, queued among the errands.
struct Turn : Task {
  using Task::Task;
  ActorCore* core = nullptr;
  std::uint32_t group = 0;
  std::atomic<bool> taken{false};
};

void destroy_turn(Object* object) noexcept {
  auto* turn = static_cast<Turn*>(object);
  actor_release(turn->core);
  turn->~Turn();
  slab_free(turn, sizeof(Turn));
}
void run_turn_task(Task* task);
std::string_view turn_name() { return "actor turn"; }
void nothing(Task*) noexcept {}
constexpr ObjectOps kTurnOps = {
    .destroy = destroy_turn,
    .drop = [](Object*, std::uintptr_t) noexcept {},
    .value_offset = 0,
    .kind = ObjectKind::task,
    .run = run_turn_task,
    .release_arguments = nothing,
    .arguments = [](Task*, void (*)(void*, Object*), void*) {},
    .name = turn_name,
    .seal_elements = nullptr,
};

/// What follows once the lock is gone.
struct Afterwards {
  Engine* engine = nullptr;
  std::vector<Task*> turns;
  std::vector<Task*> dead_calls;
  std::exception_ptr reason;
  std::vector<void*> objects;
  const ActorClass* cls = nullptr;
  Demand demand;
  bool release_demand = false;
  Creation* construct = nullptr;
  Creation* drop_creation = nullptr;
  std::string forget_name;
  ActorCore* forget = nullptr;

  void run();
};

void Afterwards::run() {
  for (void* object : objects) cls->destroy(object);
  if (engine != nullptr) {
    EngineParts& parts = engine->parts();
    if (forget != nullptr) {
      bool known = false;
      {
        const std::lock_guard lock(parts.actors_mutex);
        known = parts.actors.erase(forget) != 0;
        const auto named = parts.named_actors.find(forget_name);
        if (named != parts.named_actors.end() && named->second == forget) {
          parts.named_actors.erase(named);
        }
      }
      if (known) actor_release(forget);
    }
    for (Task* call : dead_calls) {
      if (call->sealed()) {
        engine->complete(call, kCancelled);
      } else {
        store_failure(call, make_failure(reason, task_name(call)));
        engine->complete(call, kFailed);
      }
    }
    if (release_demand) engine->parts().release_demand(demand);
    if (construct != nullptr) engine->enqueue_errand(construct);
    for (Task* turn : turns) engine->enqueue_errand(turn);
  }
  if (drop_creation != nullptr) {
    drop_creation->ops->release_arguments(drop_creation);
    release(drop_creation);
  }
}

/// Queues turns for what may start. Requires: the lock.
void schedule(ActorCore& core, Group& group, Afterwards& after) {
  while (group.turns < group.running_max) {
    // Resumed coroutines run in any state: those of a dead object are resumed to be ended.
    std::size_t work = group.resumed.size;
    if (core.state == ActorState::alive && group.begun < group.begun_max) work += group.calls.size;
    if (static_cast<std::size_t>(group.turns - group.executing) >= work) return;
    auto* turn = ::new (slab_allocate(sizeof(Turn))) Turn(&kTurnOps, 1, core.id, 0);
    turn->engine = core.engine_index;
    turn->flags = kInternal | kNoCpu;
    turn->core = &core;
    turn->group = 0;
    for (std::uint32_t i = 0; i < core.groups.size(); ++i) {
      if (core.groups[i].get() == &group) turn->group = i;
    }
    actor_retain(&core);
    ++group.turns;
    if (group.running_max == 1) {
      group.waiting_turn = turn;
      retain(turn);
    }
    after.turns.push_back(turn);
  }
}

void drop_waiting_turn(Group& group) {
  if (group.waiting_turn != nullptr) release(std::exchange(group.waiting_turn, nullptr));
}

void leave_instance(ActorCore& core, const std::shared_ptr<Instance>& instance,
                    Afterwards& after) {
  if (--instance->users == 0 && instance->dead && instance->object != nullptr) {
    after.objects.push_back(std::exchange(instance->object, nullptr));
    after.cls = core.cls;
  }
}

/// The actor is dead for good: everything it holds goes. Requires: the lock.
void bury(ActorCore& core, std::exception_ptr reason, Afterwards& after) {
  core.state = ActorState::dead;
  core.death = reason;
  after.reason = reason;
  after.cls = core.cls;
  for (auto& group : core.groups) {
    while (Task* call = group->calls.pop_front()) after.dead_calls.push_back(call);
  }
  // What still waits for an argument comes by when it has it, and finds the actor dead.
  for (auto it = core.held.begin(); it != core.held.end();) {
    core.held_count -= std::erase_if(it->second, [&](const HeldCall& held) {
      if (held.ready) after.dead_calls.push_back(held.call);
      return held.ready;
    });
    it = it->second.empty() ? core.held.erase(it) : std::next(it);
  }
  core.pending -= after.dead_calls.size();
  if (core.instance != nullptr) {
    core.instance->dead = true;
    if (core.instance->users == 0 && core.instance->object != nullptr) {
      after.objects.push_back(std::exchange(core.instance->object, nullptr));
    }
  }
  if (std::exchange(core.granted, false)) {
    after.demand = core.demand;
    after.release_demand = true;
  }
  if (!core.creating) after.drop_creation = std::exchange(core.creation, nullptr);
  after.forget = &core;
  after.forget_name = core.options.name;
}

/// Ends it in order when nobody can call it any more. Requires: the lock.
void bury_if_done(ActorCore& core, Afterwards& after) {
  if (core.handles.load(std::memory_order_acquire) != 0 || core.pending != 0 ||
      core.state == ActorState::dead || core.state == ActorState::pending_creation ||
      core.state == ActorState::restarting) {
    return;
  }
  bury(core, std::make_exception_ptr(ActorDiedError("the actor ended: its last handle is gone")),
       after);
}

/// One call's execution; true if it ended, false if it suspended itself.
bool execute(Engine& engine, Instance& instance, Task* call) {
  ThreadContext& context = thread_context;
  const Task* const finished = std::exchange(context.finished_call, nullptr);
  void* const outer = std::exchange(context.instance, instance.object);
  engine.run_task(call);
  const bool ended = context.finished_call == call;
  context.finished_call = finished;
  context.instance = outer;
  return ended;
}

/// Runs up to `budget` calls of a group. Requires: the caller holds one of the group's turns.
void run_turn(Engine& engine, ActorCore& core, Group& group, int budget) {
  Afterwards after;
  after.engine = &engine;
  Task* call = nullptr;
  Task* done = nullptr;  // Ended, and out of `begun`.
  std::shared_ptr<Instance> instance;
  bool ended = false;
  for (;;) {
    {
      const std::lock_guard lock(core.mutex);
      if (call != nullptr) --group.executing;
      if (call != nullptr && ended) {
        --group.begun;
        ++core.finished;
        --core.pending;
        const auto at = std::find(core.begun.begin(), core.begun.end(), call);
        if (at != core.begun.end()) core.begun.erase(at);
        leave_instance(core, instance, after);
        done = call;
      }
      call = nullptr;
      if (budget-- > 0) {
        call = group.resumed.pop_front();
        if (call == nullptr && core.state == ActorState::alive && group.begun < group.begun_max) {
          call = group.calls.pop_front();
          if (call != nullptr) {
            ++group.begun;
            core.begun.push_back(call);
            retain(call, kRuntimeRef);  // While it stands in `begun`.
            instance = core.instance;
            ++instance->users;
            static_cast<ActorCall*>(call)->instance = instance;
          }
        } else if (call != nullptr) {
          instance = static_cast<ActorCall*>(call)->instance;
        }
      }
      if (call != nullptr) {
        ++group.executing;
        // While this turn is inside, others may be needed for what still waits.
        if (group.running_max > 1) schedule(core, group, after);
      } else {
        --group.turns;
        schedule(core, group, after);
        bury_if_done(core, after);
      }
    }
    if (done != nullptr) release(std::exchange(done, nullptr), kRuntimeRef);
    if (call == nullptr) break;
    if (!after.turns.empty()) {
      for (Task* turn : after.turns) engine.enqueue_errand(turn);
      after.turns.clear();
    }
    ended = execute(engine, *instance, call);
  }
  after.run();
}

void run_turn_task(Task* task) {
  auto* turn = static_cast<Turn*>(task);
  ActorCore* core = turn->core;
  Engine& engine = *thread_context.engine;
  if (!turn->taken.exchange(true, std::memory_order_acq_rel)) {
    Group& group = *core->groups[turn->group];
    {
      const std::lock_guard lock(core->mutex);
      if (group.waiting_turn == turn) drop_waiting_turn(group);
    }
    run_turn(engine, *core, group, kTurnCalls);
  }
  release(turn);
}

}  // namespace

bool actor_run_inline(Task* call) {
  ActorCore* core = core_of(call);
  ThreadContext& context = thread_context;
  Engine* engine = Engine::by_index(core->engine_index);
  if (engine == nullptr) return false;
  Group& group = group_of(*core, call);
  {
    const std::lock_guard lock(core->mutex);
    if (group.waiting_turn == nullptr || group.resumed.size != 0 || group.calls.head != call ||
        core->state != ActorState::alive) {
      return false;
    }
    auto* turn = static_cast<Turn*>(group.waiting_turn);
    if (turn->taken.exchange(true, std::memory_order_acq_rel)) return false;
    drop_waiting_turn(group);
  }
  const std::int64_t held = std::exchange(context.cpu_held, 0);
  run_turn(*engine, *core, group, 1);
  context.cpu_held = held;
  return true;
}

void actor_submit(ActorCore* core, Task* call, bool ready) {
  Afterwards after;
  after.engine = Engine::by_index(core->engine_index);
  {
    const std::lock_guard lock(core->mutex);
    ++core->pending;
    const auto held = core->held_count == 0 ? core->held.end() : core->held.find(call->parent);
    if (ready && core->state == ActorState::dead) {
      --core->pending;
      after.dead_calls.push_back(call);
      after.reason = core->death;
    } else if (!ready || held != core->held.end()) {
      core->held[call->parent].push_back({call, ready});
      ++core->held_count;
    } else {
      Group& group = group_of(*core, call);
      group.calls.push_back(call);
      schedule(*core, group, after);
    }
  }
  after.run();
}

void actor_post(Task* call) {
  ActorCore* core = core_of(call);
  Afterwards after;
  after.engine = Engine::by_index(core->engine_index);
  {
    const std::lock_guard lock(core->mutex);
    const auto held = core->held.find(call->parent);
    if (held == core->held.end()) {  // Back for another try.
      core->pending += 1;
      group_of(*core, call).calls.push_front(call);
      schedule(*core, group_of(*core, call), after);
    } else {
      for (HeldCall& entry : held->second) {
        if (entry.call == call) entry.ready = true;
      }
      while (!held->second.empty() && held->second.front().ready) {
        Task* next = held->second.front().call;
        held->second.pop_front();
        --core->held_count;
        if (core->state == ActorState::dead) {
          --core->pending;
          after.dead_calls.push_back(next);
          after.reason = core->death;
        } else {
          group_of(*core, next).calls.push_back(next);
          schedule(*core, group_of(*core, next), after);
        }
      }
      if (held->second.empty()) core->held.erase(held);
    }
  }
  after.run();
}

void actor_resume(Task* call) {
  ActorCore* core = core_of(call);
  Engine* engine = Engine::by_index(core->engine_index);
  Afterwards after;
  after.engine = engine;
  {
    const std::lock_guard lock(core->mutex);
    Group& group = group_of(*core, call);
    group.resumed.push_back(call);
    schedule(*core, group, after);
  }
  after.run();
}

std::vector<Task*> actor_blockers(Task* call) {
  ActorCore* core = core_of(call);
  const std::lock_guard lock(core->mutex);
  const Group& group = group_of(*core, call);
  std::vector<Task*> blockers;
  for (Task* begun : core->begun) {
    if (begun == call) return {};
    if (static_cast<ActorCall*>(begun)->group == static_cast<ActorCall*>(call)->group) {
      blockers.push_back(begun);
    }
  }
  // Somebody inside will leave by itself unless all of them wait.
  if (blockers.size() < static_cast<std::size_t>(group.running_max)) return {};
  return blockers;
}

bool actor_retries(Task* call, std::uintptr_t seal) {
  if (!call->has(kRetryable) || call->sealed()) return false;
  ActorCore* core = core_of(call);
  Afterwards after;
  after.engine = Engine::by_index(core->engine_index);
  TaskExtra& extra = extra_of(call);
  {
    const std::lock_guard lock(core->mutex);
    const auto& instance = static_cast<ActorCall*>(call)->instance;
    if (instance == nullptr || !instance->dead || core->state == ActorState::dead) return false;
    if (std::find(core->begun.begin(), core->begun.end(), call) == core->begun.end()) return false;
    const int attempt = extra.attempt.load(std::memory_order_relaxed);
    if (extra.max_retries != -1 && attempt >= extra.max_retries) return false;
    extra.attempt.store(attempt + 1, std::memory_order_relaxed);
  }
  if (extra.stoppable.load(std::memory_order_acquire)) {
    after.engine->parts().forget_stoppable(call, extra);
    extra.stop = std::stop_source();
  }
  call->ops->drop(call, seal);  // A user's destructor: without the lock.
  call->flags &= static_cast<std::uint8_t>(~kResumed);
  {
    const std::lock_guard lock(core->mutex);
    ++core->pending;  // The turn that runs it now takes one off.
    if (core->state == ActorState::dead) {
      --core->pending;
      after.dead_calls.push_back(call);
      after.reason = core->death;
    } else {
      Group& group = group_of(*core, call);
      group.calls.push_front(call);
      schedule(*core, group, after);
    }
  }
  thread_context.finished_call = call;
  after.run();
  return true;
}

// --- what actor_life.cpp needs ---

void actor_constructed(ActorCore& core, Engine& engine, void* object, std::exception_ptr error) {
  Afterwards after;
  after.engine = &engine;
  after.cls = core.cls;
  {
    const std::lock_guard lock(core.mutex);
    core.creating = false;
    if (core.state == ActorState::dead) {
      if (object != nullptr) after.objects.push_back(object);
      after.drop_creation = std::exchange(core.creation, nullptr);
    } else if (error == nullptr) {
      core.instance = std::make_shared<Instance>();
      core.instance->object = object;
      core.state = ActorState::alive;
      for (auto& group : core.groups) schedule(core, *group, after);
      bury_if_done(core, after);
    } else if (core.options.max_restarts == -1 || core.restarts < core.options.max_restarts) {
      ++core.restarts;
      core.state = ActorState::restarting;
      core.creating = true;
      after.construct = core.creation;
    } else {
      bury(core, std::move(error), after);
    }
  }
  after.run();
}

void actor_bury(ActorCore& core, std::exception_ptr reason) {
  Afterwards after;
  after.engine = Engine::by_index(core.engine_index);
  {
    const std::lock_guard lock(core.mutex);
    if (core.state == ActorState::dead) return;
    bury(core, std::move(reason), after);
  }
  after.run();
}

void actor_bury_if_done(ActorCore& core) {
  Afterwards after;
  after.engine = Engine::by_index(core.engine_index);
  {
    const std::lock_guard lock(core.mutex);
    bury_if_done(core, after);
  }
  after.run();
}

bool actor_begin_restart(ActorCore& core) {
  Afterwards after;
  after.engine = Engine::by_index(core.engine_index);
  {
    const std::lock_guard lock(core.mutex);
    if (core.state == ActorState::dead) return true;
    if (core.options.max_restarts != -1 && core.restarts >= core.options.max_restarts) return false;
    ++core.restarts;
    core.state = ActorState::restarting;
    after.cls = core.cls;
    if (core.instance != nullptr) {
      core.instance->dead = true;
      if (core.instance->users == 0 && core.instance->object != nullptr) {
        after.objects.push_back(std::exchange(core.instance->object, nullptr));
      }
    }
    if (!std::exchange(core.creating, true)) after.construct = core.creation;
  }
  after.run();
  return true;
}

}  // namespace ray::detail
