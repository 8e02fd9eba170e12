// How actors come into being, are found by name, restart and die.
#include <algorithm>

#include <ray/error.hpp>

#include "runtime/actor_core.hpp"
#include "runtime/failures.hpp"
#include "task/text.hpp"

namespace ray::detail {

namespace {

void check(const ActorOptions& options) {
  const auto at_least = [](const char* field, int value, int least, const char* meaning) {
    if (value < least) {
      throw InvalidArgumentError("ActorOptions::" + std::string(field) + " = " +
                                 std::to_string(value) + ": must be " + meaning);
    }
  };
  at_least("max_restarts", options.max_restarts, -1, "-1 (for ever), 0 or more");
  at_least("max_task_retries", options.max_task_retries, -1, "-1 (for ever), 0 or more");
  at_least("max_concurrency", options.max_concurrency, 0, "0 (the default) or more");
  at_least("checkpoint_every", options.checkpoint_every, 0, "0 (never) or more");
  at_least("max_pending_calls", options.max_pending_calls, -1, "-1 (no limit) or more");
  if (options.max_pending_calls == 0) {
    at_least("max_pending_calls", 0, 1, "-1 (no limit), or 1 or more");
  }
  const auto fits = [](const std::string& field, const std::string& name) {
    if (name.size() > kNameMax) {
      throw InvalidArgumentError("ActorOptions::" + field + ": a name of " +
                                 std::to_string(name.size()) + " bytes; at most " +
                                 std::to_string(kNameMax) + " are allowed");
    }
  };
  fits("name = \"" + printable(options.name, 32) + "\"", options.name);
  for (const auto& [name, limit] : options.concurrency_groups) {
    const std::string field = "concurrency_groups[\"" + printable(name, 32) + "\"]";
    fits(field, name);
    at_least(field.c_str(), limit, 1, "at least 1");
    if (name.empty()) {
      throw InvalidArgumentError("ActorOptions::concurrency_groups: a group needs a name");
    }
  }
  if (options.lifetime == Lifetime::detached && options.name.empty()) {
    throw InvalidArgumentError(
        "ActorOptions::lifetime = detached: needs a name, or nobody could ever find the actor");
  }
  if (options.get_if_exists && options.name.empty()) {
    throw InvalidArgumentError("ActorOptions::get_if_exists = true: needs a name");
  }
}

std::string class_name(const ActorCore& core) { return std::string(core.cls->name()); }

}  // namespace

bool try_retain_handle(ActorCore* core) {
  std::uint32_t handles = core->handles.load(std::memory_order_acquire);
  while (handles != 0) {
    if (core->handles.compare_exchange_weak(handles, handles + 1, std::memory_order_acq_rel)) {
      return true;
    }
  }
  return false;
}

void actor_retain(ActorCore* core) noexcept { core->refs.fetch_add(1, std::memory_order_relaxed); }

void actor_release(ActorCore* core) noexcept {
  if (core->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete core;
}

void actor_retain_handle(ActorCore* core) noexcept {
  core->handles.fetch_add(1, std::memory_order_relaxed);
}

void actor_release_handle(ActorCore* core) noexcept {
  if (core->handles.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (core->remote) {
    const ActorScope scope(core);
    if (scope.engine() != nullptr) scope.engine()->parts().client->forget_actor(core);
  } else {
    actor_bury_if_done(*core);
  }
  actor_release(core);  // The one that all handles share.
}

std::uint64_t actor_id(const ActorCore* core) noexcept { return core->id; }
const ActorClass* actor_class(const ActorCore* core) noexcept { return core->cls; }

void throw_name_taken(const std::string& name, const std::string& class_name) {
  throw InvalidArgumentError("ActorOptions::name = \"" + printable(name) +
                             "\": an actor of class " + class_name +
                             " has that name; kill it, choose another name, or say get_if_exists");
}
void throw_no_actor(std::string_view name) {
  throw InvalidArgumentError("get_actor(\"" + printable(name) +
                             "\"): no actor of that name is alive in this runtime");
}
void throw_other_class(std::string_view name, const std::string& there, std::string_view wanted) {
  throw InvalidArgumentError("get_actor(\"" + printable(name) + "\"): that actor is a " + there +
                             ", not a " + std::string(wanted));
}

ActorScope::ActorScope(const ActorCore* core) : scope_(core->engine_index) {}

std::unique_ptr<ActorCore> new_actor_core(Engine& engine, const ActorClass* cls, std::uint64_t id,
                                          const ActorOptions& options) {
  auto core = std::make_unique<ActorCore>();
  core->id = id;
  core->engine_index = engine.index();
  core->cls = cls;
  core->options = options;
  core->saves =
      cls->checkpoint != nullptr && options.max_restarts != 0 && options.checkpoint_every != 0;
  core->demand = make_demand(options.num_cpus, options.num_gpus, options.memory, options.resources,
                             "ActorOptions");
  auto own = std::make_unique<Group>();
  if (options.max_concurrency > 0) {
    own->running_max = options.max_concurrency;
    own->begun_max = options.max_concurrency;
  }
  core->groups.push_back(std::move(own));
  for (const auto& [name, limit] : options.concurrency_groups) {
    auto group = std::make_unique<Group>();
    group->name = name;
    group->running_max = limit;
    group->begun_max = limit;
    core->groups.push_back(std::move(group));
  }
  return core;
}

/// Requires: actors_mutex.
void enter(EngineParts& parts, ActorCore* core) {
  parts.actors.insert(core);
  actor_retain(core);
}

ActorCore* enter_actor(Engine& engine, std::unique_ptr<ActorCore> core, Creation* creation) {
  EngineParts& parts = engine.parts();
  creation->engine = engine.index();
  creation->flags |= kInternal | kNoCpu;
  core->creation = creation;
  ActorCore* made = core.release();
  {
    const std::lock_guard lock(parts.actors_mutex);
    enter(parts, made);
  }
  actor_retain(made);
  creation->core = made;
  return made;
}

ActorCore* make_actor(Engine& engine, const ActorClass* cls, const ActorOptions& options,
                      Creation* creation, bool* existed) {
  *existed = false;
  EngineParts& parts = engine.parts();
  check(options);
  if (cls->checkpoint == nullptr && options.checkpoint_every > 1) {
    throw InvalidArgumentError(
        "ActorOptions::checkpoint_every = " + std::to_string(options.checkpoint_every) +
        ": class " + std::string(cls->name()) + " has no checkpoint() const and restore()");
  }
  auto core = new_actor_core(engine, cls, creation->task_id(), options);
  if (engine.is_remote()) {
    creation->engine = engine.index();
    creation->flags |= kInternal | kNoCpu;
    return parts.client->make_actor(std::move(core), creation, existed);
  }
  core->creation = creation;
  const bool detached = options.lifetime == Lifetime::detached;
  core->handles.store(detached ? 2 : 1, std::memory_order_relaxed);
  creation->engine = engine.index();
  creation->flags |= kInternal | kNoCpu;
  {
    const std::lock_guard lock(parts.actors_mutex);
    if (parts.stopping.load(std::memory_order_relaxed)) {
      throw Error("ray: the runtime is shutting down; no actor can start");
    }
    if (!options.name.empty()) {
      const auto [found, fresh] = parts.named_actors.try_emplace(options.name, core.get());
      if (!fresh) {
        if (options.get_if_exists && found->second->cls == cls &&
            try_retain_handle(found->second)) {
          *existed = true;
          return found->second;
        }
        if (found->second->handles.load() != 0) {
          throw_name_taken(options.name, class_name(*found->second));
        }
        found->second = core.get();  // The old one is on its way out.
      }
    }
    enter(parts, core.get());
  }
  ActorCore* made = core.release();
  const Demand& demand = made->demand;
  actor_retain(made);
  creation->core = made;
  if (demand.cpu != 0 || !demand.only_cpu()) {
    std::optional<std::string> never;
    {
      const std::lock_guard lock(parts.ledger_mutex);
      never = parts.ledger.infeasible(demand);
    }
    if (never) {
      actor_bury(*made, std::make_exception_ptr(UnschedulableError(
                            actor_title(*made) + " can never start: it " + *never)));
    } else {
      TaskExtra& extra = extra_of(creation);
      extra.has_demand = true;
      extra.demand = demand;
    }
  }
  return made;
}

void actor_construct(Task* task) {
  auto* creation = static_cast<Creation*>(task);
  ActorCore& core = *creation->core;
  Engine& engine = *thread_context.engine;
  actor_retain(&core);
  bool wanted = false;
  std::shared_ptr<void> saved;
  {
    const std::lock_guard lock(core.mutex);
    saved = core.options.max_restarts != 0 ? core.saved : std::move(core.saved);
    wanted = core.state != ActorState::dead;
    if (creation->has(kGranted)) core.granted = wanted;
  }
  void* object = nullptr;
  std::exception_ptr error;
  if (wanted) {
    thread_context.frame->actor = &core;
    const auto could_not_start = [&](const std::string& why, const std::exception_ptr& cause) {
      error = std::make_exception_ptr(
          ActorDiedError(actor_title(core) + " could not start: " + why + describe(cause)));
    };
    if (Object* failed = creation->failed_argument(creation)) {
      could_not_start("an argument of its constructor failed: ", failure_of(failed)->exception);
    } else {
      try {
        object = creation->construct(creation, core.options.max_restarts != 0);
      } catch (...) {
        could_not_start("its constructor threw ", std::current_exception());
      }
    }
    if (object != nullptr && saved != nullptr) {
      try {
        core.cls->checkpoint->restore(object, saved.get());
      } catch (...) {
        core.cls->destroy(std::exchange(object, nullptr));
        could_not_start("its restore() threw ", std::current_exception());
      }
    }
  } else if (creation->has(kGranted)) {
    engine.parts().release_demand(core.demand);
  }
  const TaskExtra* extra = creation->extra.load(std::memory_order_acquire);
  if (extra != nullptr && extra->order != nullptr) {
    engine.parts().client->constructed(creation, error);
  }
  actor_constructed(core, object, error);
  actor_release(&core);
}

void actor_kill(ActorCore* core, bool no_restart) {
  const ActorScope scope(core);
  Engine* engine = scope.engine();
  if (engine == nullptr) return;
  if (core->remote) {
    engine->parts().client->kill_actor(*core, no_restart);
    return;
  }
  std::vector<Task*> inside;
  {
    const std::lock_guard lock(core->mutex);
    if (core->state == ActorState::dead) return;
    inside = core->begun;
    for (Task* call : inside) retain(call);
  }
  const bool restarts =
      !no_restart &&
      actor_begin_restart(
          *core, actor_title(*core) +
                     " was killed by ray::kill while this call ran, and starts again; calls with "
                     "ActorOptions::max_task_retries would be repeated");
  if (!restarts) {
    actor_bury(*core,
               std::make_exception_ptr(ActorDiedError(
                   actor_title(*core) + killed_words(core->options.max_restarts, no_restart))));
  }
  // Until its object is dead a call may still be saved, and one that is tried again at any time.
  const auto is_saved = [core](const Task* call) {
    const std::lock_guard lock(core->mutex);
    return static_cast<const ActorCall*>(call)->saved;
  };
  for (Task* call : inside) {
    if (restarts && is_saved(call)) {
      // The new object knows of it: it has ended.
    } else if (!restarts || !call->has(kRetryable)) {
      if (call->ops->seal_elements != nullptr) call->ops->seal_elements(call, kActorDied, false);
      seal_object(call, kActorDied);
      Engine::cancel(call, {.force = false, .recursive = false});  // It is asked to stop.
    } else {
      engine->parts().request_stop(call);
    }
    release(call);
  }
}

ActorCore* find_actor(Engine& engine, std::string_view name, const ActorClass* cls) {
  EngineParts& parts = engine.parts();
  if (engine.is_remote()) return parts.client->find_actor(name, cls);
  std::unique_lock lock(parts.actors_mutex);
  const auto found = parts.named_actors.find(std::string(name));
  if (found == parts.named_actors.end() || !try_retain_handle(found->second)) {
    throw_no_actor(name);
  }
  if (found->second->cls != cls) {
    const std::string there = class_name(*found->second);
    ActorCore* other = found->second;
    lock.unlock();
    actor_release_handle(other);
    throw_other_class(name, there, cls->name());
  }
  return found->second;
}

void actor_prepare(ActorCore* core, Task* task, const MethodOptions* options) {
  auto* call = static_cast<ActorCall*>(task);
  call->engine = core->engine_index;
  if (options != nullptr) {
    if (!options->concurrency_group.empty()) {
      std::uint32_t index = 0;
      while (index < core->groups.size() &&
             core->groups[index]->name != options->concurrency_group) {
        ++index;
      }
      if (index == core->groups.size()) {
        throw InvalidArgumentError("MethodOptions::concurrency_group = \"" +
                                   printable(options->concurrency_group) + "\": actor " +
                                   class_name(*core) +
                                   " has no such group; name it in ActorOptions::"
                                   "concurrency_groups");
      }
      call->group = index;
    }
    const ActorScope scope(core);
    if (Engine* engine = scope.engine()) {
      engine->apply(task, {.max_retries = 0, .name = options->name, .timeout = options->timeout});
    }
  }
  if (core->options.max_task_retries != 0) {
    TaskExtra& extra = extra_of(task);
    extra.max_retries = core->options.max_task_retries;
    task->flags |= kRetryable;
  }
  if (core->options.max_pending_calls < 0) return;  // Counted by actor_submit().
  // Last: nothing may refuse the call once it is counted.
  const std::lock_guard lock(core->mutex);
  if (core->pending >= static_cast<std::size_t>(core->options.max_pending_calls)) {
    throw PendingCallsLimitExceededError(
        actor_title(*core) + " has " + std::to_string(core->pending) +
        " calls pending, its max_pending_calls; wait for some before making more");
  }
  ++core->pending;
}

void actors_shutdown(EngineParts& parts) {
  std::vector<ActorCore*> cores;
  {
    const std::lock_guard lock(parts.actors_mutex);
    cores.assign(parts.actors.begin(), parts.actors.end());
    for (ActorCore* core : cores) actor_retain(core);
  }
  std::sort(cores.begin(), cores.end(),
            [](const ActorCore* a, const ActorCore* b) { return a->id < b->id; });
  for (ActorCore* core : cores) {
    actor_bury(*core, std::make_exception_ptr(ActorDiedError(actor_title(*core) +
                                                             " ended: its runtime was shut down")));
    actor_release(core);
  }
}

}  // namespace ray::detail
