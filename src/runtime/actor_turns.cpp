// An actor's mailbox and its turns: how calls come in and are run.
#include <algorithm>
#include <unordered_set>

#include "runtime/actor_core.hpp"

namespace ray::detail {

namespace {

constexpr int kTurnCalls = 256;   // After so many calls a turn lets others run.
constexpr int kInlineCalls = 64;  // So many at most run on the thread of who waits for the last.

ActorCore* core_of(Task* call) { return static_cast<ActorCall*>(call)->core; }
Group& group_of(ActorCore& core, Task* call) {
  return *core.groups[static_cast<ActorCall*>(call)->group];
}

/// One call's execution; true if it ended, false if it suspended itself.
bool execute(Engine& engine, const ActorCore& core, Instance& instance, Task* call) {
  ThreadContext& context = thread_context;
  const Task* const finished = std::exchange(context.finished_call, nullptr);
  void* const outer = std::exchange(context.instance, instance.object);
  const std::int64_t held = context.cpu_held;
  // Where it is the only call inside, it lends the actor's CPU to others while it waits.
  if (core.groups.size() == 1 && core.groups[0]->running_max == 1) {
    context.cpu_held += core.demand.cpu;
  }
  const TaskExtra* extra = call->extra.load(std::memory_order_acquire);
  if (extra != nullptr && extra->order != nullptr) {
    Client& client = *engine.parts().client;
    if (call->has(kResumed)) {
      client.resumed(call, true);
    } else {
      client.began(call);
    }
  }
  engine.run_task(call);
  context.cpu_held = held;
  const bool ended = context.finished_call == call;
  context.finished_call = finished;
  context.instance = outer;
  return ended;
}

/// Runs up to `budget` calls of a group. Requires: the caller holds one of the group's turns.
void run_turn(Engine& engine, ActorCore& core, Group& group, int budget) {
  Afterwards after(core);
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
    ended = execute(engine, core, *instance, call);
  }
  after.run();
}

}  // namespace

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

bool actor_run_inline(Task* call) {
  ActorCore* core = core_of(call);
  ThreadContext& context = thread_context;
  Engine* engine = Engine::by_index(core->engine_index);
  if (engine == nullptr) return false;
  Group& group = group_of(*core, call);
  int budget = 1;
  {
    const std::lock_guard lock(core->mutex);
    if (group.waiting_turn == nullptr || group.resumed.size != 0 ||
        core->state != ActorState::alive) {
      return false;
    }
    // Those before it must end before it can begin.
    for (const Task* each = group.calls.head; each != call; each = each->next()) {
      if (each == nullptr || ++budget > kInlineCalls) return false;
    }
    auto* turn = static_cast<Turn*>(group.waiting_turn);
    if (turn->taken.exchange(true, std::memory_order_acq_rel)) return false;
    drop_waiting_turn(group);
  }
  // On the caller's slot: a method that waits gives it away as the caller would.
  const DriverInside inside(engine->parts(), context);
  run_turn(*engine, *core, group, budget);
  return true;
}

void actor_submit(ActorCore* core, Task* call, bool ready) {
  Afterwards after(*core);
  {
    const std::lock_guard lock(core->mutex);
    if (core->options.max_pending_calls < 0) ++core->pending;  // Else actor_prepare() has.
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
  Afterwards after(*core);
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

void remote_call_ended(Task* call) {
  ActorCore* core = core_of(call);
  if (core->options.max_pending_calls < 0) return;  // They are not counted.
  const std::lock_guard lock(core->mutex);
  --core->pending;
}

void actor_resume(Task* call) {
  ActorCore* core = core_of(call);
  Afterwards after(*core);
  {
    const std::lock_guard lock(core->mutex);
    Group& group = group_of(*core, call);
    group.resumed.push_back(call);
    schedule(*core, group, after);
  }
  after.run();
}

ActorBlockers actor_blockers(Task* call) {
  ActorCore* core = core_of(call);
  const std::lock_guard lock(core->mutex);
  ActorBlockers blockers;
  if (core->state == ActorState::dead) return blockers;
  if (core->creating) blockers.first = core->creation;
  if (const auto held = core->held.find(call->parent); held != core->held.end()) {
    const std::deque<HeldCall>& line = held->second;  // The first lacks an argument.
    const bool stands_there =
        std::ranges::any_of(line, [call](const HeldCall& each) { return each.call == call; });
    if (stands_there && line.front().call != call) blockers.first = line.front().call;
  }
  if (blockers.first != nullptr) {
    retain(blockers.first);
    return blockers;
  }
  const Group& group = group_of(*core, call);
  std::unordered_set<const Task*> resumed;  // They do not keep others out, but stand in line.
  for (const Task* each = group.resumed.head; each != nullptr; each = each->next()) {
    resumed.insert(each);
  }
  blockers.also_suspended = group.begun >= group.begun_max;
  for (const Task* begun : core->begun) {
    if (static_cast<const ActorCall*>(begun)->group != static_cast<ActorCall*>(call)->group) {
      continue;
    }
    if (begun == call) {
      blockers.also_suspended = false;
      if (!resumed.contains(call)) return {};  // It runs.
    } else {
      blockers.begun.push_back(begun);
    }
  }
  if (!blockers.also_suspended) {
    if (group.executing < group.running_max) return {};
    std::erase_if(blockers.begun, [&](const Task* begun) { return resumed.contains(begun); });
  }
  return blockers;
}

std::string actor_end_of(Task* call) {
  ActorCore* core = core_of(call);
  const std::lock_guard lock(core->mutex);
  const auto& instance = static_cast<ActorCall*>(call)->instance;
  return instance != nullptr ? instance->end : "its actor is dead";
}

bool actor_gave_up(Task* call) {
  ActorCore* core = core_of(call);
  const std::lock_guard lock(core->mutex);
  const auto& instance = static_cast<ActorCall*>(call)->instance;
  return instance != nullptr && instance->dead;
}

bool actor_retries(Task* call, std::uintptr_t seal) {
  if (!call->has(kRetryable) || call->sealed()) return false;
  ActorCore* core = core_of(call);
  Afterwards after(*core);
  TaskExtra& extra = extra_of(call);
  {
    const std::lock_guard lock(core->mutex);
    const auto& instance = static_cast<ActorCall*>(call)->instance;
    if (instance == nullptr || !instance->dead || core->state == ActorState::dead) return false;
    if (static_cast<ActorCall*>(call)->saved) return false;
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

}  // namespace ray::detail
