// The rules of an actor: who may start, what happens when it ends.
#include "runtime/actor_core.hpp"

#include <algorithm>

#include <ray/error.hpp>

#include "task/text.hpp"

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

void destroy_turn(Object* object) noexcept {
  auto* turn = static_cast<Turn*>(object);
  actor_release(turn->core);
  turn->~Turn();
  slab_free(turn, sizeof(Turn));
}
std::string_view turn_name() { return "actor turn"; }
void no_arguments(Task*) noexcept {}
constexpr ObjectOps kTurnOps = {
    .destroy = destroy_turn,
    .drop = [](Object*, std::uintptr_t) noexcept {},
    .value_offset = 0,
    .kind = ObjectKind::task,
    .retires = false,
    .leaf = false,
    .run = run_turn_task,
    .release_arguments = no_arguments,
    .arguments = [](Task*, void (*)(void*, Object*), void*) {},
    .name = turn_name,
    .seal_elements = nullptr,
    .codec = nullptr,
};

std::string message_of(const std::exception_ptr& reason) {
  try {
    std::rethrow_exception(reason);
  } catch (const std::exception& e) {
    return e.what();
  }
}

void give_up(Instance& instance, std::string end) {
  if (instance.dead) return;  // It ended for what came first.
  instance.dead = true;
  instance.end = std::move(end);
}

}  // namespace

std::string actor_title(const ActorCore& core) {
  std::string title = "actor " + std::string(core.cls->name());
  if (!core.options.name.empty()) title += " \"" + printable(core.options.name) + "\"";
  return title;
}

void Afterwards::fail(Task* call) {
  std::uintptr_t seal = kCancelled;
  if (!call->sealed()) {
    seal = kFailed;
    store_failure(call, make_failure(reason, task_name(call)));
  }
  if (engine != nullptr) {
    engine->complete(call, seal);
    return;
  }
  call->ops->release_arguments(call);
  seal_task(call, seal);
}

void Afterwards::run() {
  for (void* object : objects) cls->destroy(object);
  for (Task* call : dead_calls) fail(call);
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
      if (known) {
        // A detached actor's own handle; the one of the list.
        if (forget->options.lifetime == Lifetime::detached) actor_release_handle(forget);
        actor_release(forget);
      }
      if (demand_waits) parts.pump();
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

/// Its resources, once it is dead and nobody is inside the object: he may have lent its CPUs.
void give_back_when_empty(ActorCore& core, Afterwards& after) {
  const bool somebody_inside = core.instance != nullptr && core.instance->users != 0;
  if (core.state != ActorState::dead || core.creating || somebody_inside) return;
  if (!std::exchange(core.granted, false)) return;
  after.demand = core.demand;
  after.release_demand = true;
}

void leave_instance(ActorCore& core, const std::shared_ptr<Instance>& instance, Afterwards& after) {
  if (--instance->users != 0) return;
  if (instance->dead && instance->object != nullptr) {
    after.objects.push_back(std::exchange(instance->object, nullptr));
    after.cls = core.cls;
  }
  give_back_when_empty(core, after);
}

void bury(ActorCore& core, std::exception_ptr reason, Afterwards& after) {
  core.state = ActorState::dead;
  core.death = reason;
  after.saved = std::move(core.saved);
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
    give_up(*core.instance, message_of(reason));
    if (core.instance->users == 0 && core.instance->object != nullptr) {
      after.objects.push_back(std::exchange(core.instance->object, nullptr));
    }
  }
  give_back_when_empty(core, after);
  if (!core.creating) {
    after.drop_creation = std::exchange(core.creation, nullptr);
  } else {
    seal_object(core.creation, kActorDied);  // Should it still stand in line for its resources.
    after.demand_waits = true;
  }
  after.forget = &core;
  after.forget_name = core.options.name;
}

void bury_if_done(ActorCore& core, Afterwards& after) {
  if (core.handles.load(std::memory_order_acquire) != 0 || core.pending != 0 ||
      core.state == ActorState::dead || core.state == ActorState::pending_creation ||
      core.state == ActorState::restarting) {
    return;
  }
  bury(core,
       std::make_exception_ptr(
           ActorDiedError(actor_title(core) + " ended in order: its last handle is gone")),
       after);
}

void actor_constructed(ActorCore& core, void* object, std::exception_ptr error) {
  Afterwards after(core);
  after.cls = core.cls;
  {
    const std::lock_guard lock(core.mutex);
    core.creating = false;
    if (core.state == ActorState::dead) {
      if (object != nullptr) after.objects.push_back(object);
      give_back_when_empty(core, after);
      after.drop_creation = std::exchange(core.creation, nullptr);
    } else if (error == nullptr) {
      core.instance = std::make_shared<Instance>();
      core.instance->object = object;
      core.unsaved = 0;
      core.state = ActorState::alive;
      for (auto& group : core.groups) schedule(core, *group, after);
      bury_if_done(core, after);
    } else if (core.options.max_restarts == -1 || core.restarts < core.options.max_restarts) {
      ++core.restarts;
      core.state = ActorState::restarting;
      core.creating = true;
      after.construct = core.creation;
    } else {
      if (core.restarts != 0) {
        error = std::make_exception_ptr(ActorDiedError(message_of(error) + " (after " +
                                                       std::to_string(core.restarts) +
                                                       " restarts, all that max_restarts allows)"));
      }
      bury(core, std::move(error), after);
    }
  }
  after.run();
}

void actor_bury(ActorCore& core, std::exception_ptr reason) {
  Afterwards after(core);
  {
    const std::lock_guard lock(core.mutex);
    if (core.state == ActorState::dead) return;
    bury(core, std::move(reason), after);
  }
  after.run();
}

void actor_bury_if_done(ActorCore& core) {
  Afterwards after(core);
  {
    const std::lock_guard lock(core.mutex);
    bury_if_done(core, after);
  }
  after.run();
}

bool actor_begin_restart(ActorCore& core, std::string end) {
  Afterwards after(core);
  {
    const std::lock_guard lock(core.mutex);
    if (core.state == ActorState::dead) return true;
    if (core.options.max_restarts != -1 && core.restarts >= core.options.max_restarts) return false;
    ++core.restarts;
    core.state = ActorState::restarting;
    after.cls = core.cls;
    if (core.instance != nullptr) {
      give_up(*core.instance, std::move(end));
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
