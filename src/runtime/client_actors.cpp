// Actors in processes of their own: what stands for them here, and what hosts one there.
#include <ray/detail/records.hpp>
#include <ray/error.hpp>
#include <ray/task/record_types.hpp>

#include <algorithm>
#include "runtime/actor_core.hpp"

#include "runtime/client.hpp"
#include "runtime/failures.hpp"
#include "runtime/references.hpp"

namespace ray::detail {

namespace {

ActorSpec spec_of(const ActorCore& core) {
  const ActorOptions& options = core.options;
  return {
      .class_id = hash_of_type(*core.cls->type),
      .class_name = std::string(core.cls->name()),
      .name = options.name,
      .get_if_exists = options.get_if_exists,
      .detached = options.lifetime == Lifetime::detached,
      .max_restarts = options.max_restarts,
      .max_task_retries = options.max_task_retries,
      .max_concurrency = options.max_concurrency,
      .concurrency_groups = {options.concurrency_groups.begin(), options.concurrency_groups.end()},
      .max_pending_calls = options.max_pending_calls,
      .checkpoint_every = core.saves ? options.checkpoint_every : 0};
}

/// What a handle needs to know; resources are the node's business.
ActorOptions options_of(const ActorSpec& spec) {
  ActorOptions options;
  options.name = spec.name;
  options.max_restarts = spec.max_restarts;
  options.max_task_retries = spec.max_task_retries;
  options.max_concurrency = spec.max_concurrency;
  options.concurrency_groups = {spec.concurrency_groups.begin(), spec.concurrency_groups.end()};
  options.max_pending_calls = spec.max_pending_calls;
  options.checkpoint_every = spec.checkpoint_every;
  return options;
}

}  // namespace

// --- those who call it ---

ActorCore* Client::make_actor(std::unique_ptr<ActorCore> core, Creation* creation, bool* existed) {
  core->remote = true;
  core->creating = false;
  core->state = ActorState::alive;  // As far as we know.
  message::Submit submit;
  Aliases aliases(*this);
  TaskSpec& spec = submit.task.edit();
  fill(spec, creation, aliases);
  spec.kind = TaskKind::actor_creation;
  spec.actor = core->id;
  spec.demand = core->demand;
  spec.creates = spec_of(*core);
  ActorCore* made = core.release();
  const std::uint64_t id = made->id;
  {
    const std::lock_guard lock(actors_mutex_);
    actors_[id] = made;
  }
  const auto unmake = [&] {
    const std::lock_guard lock(actors_mutex_);
    actors_.erase(id);
    delete made;
  };
  if (made->options.name.empty()) {
    send(std::move(submit));
  } else {
    Message answer = ask(id, std::move(submit));
    const auto& found = std::get<message::ActorFound>(answer);
    if (found.actor == 0) {
      const std::string name = made->options.name;
      unmake();
      throw_name_taken(name, found.spec->class_name);
    }
    if (found.actor != id) {
      const ActorClass* cls = made->cls;
      unmake();
      *existed = true;
      return adopt_actor(found.actor, cls, options_of(*found.spec), true);
    }
  }
  creation->ops->release_arguments(creation);
  return made;
}

ActorCore* Client::adopt_actor(std::uint64_t id, const ActorClass* cls, const ActorOptions& options,
                               bool counted) {
  ActorCore* core = nullptr;
  bool fresh = false;
  {
    const std::lock_guard lock(actors_mutex_);
    const auto found = actors_.find(id);
    if (found != actors_.end() && try_retain_handle(found->second)) {
      core = found->second;
    } else {
      core = new_actor_core(parts_.engine, cls, id, options).release();
      core->remote = true;
      core->creating = false;
      core->state = ActorState::alive;
      actors_[id] = core;
      fresh = true;
    }
  }
  if (fresh != counted) count_reference(id, fresh ? 1 : -1);
  return core;
}

ActorCore* Client::find_actor(std::string_view name, const ActorClass* cls) {
  const std::uint64_t request = next_request();
  Message answer = ask(request, message::FindActor{.request = request, .name = std::string(name)});
  const auto& found = std::get<message::ActorFound>(answer);
  if (found.actor == 0) throw_no_actor(name);
  if (found.spec->class_id != hash_of_type(*cls->type)) {
    count_reference(found.actor, -1);
    throw_other_class(name, found.spec->class_name, cls->name());
  }
  return adopt_actor(found.actor, cls, options_of(*found.spec), true);
}

void Client::forget_actor(ActorCore* core) {
  {
    const std::lock_guard lock(actors_mutex_);
    const auto found = actors_.find(core->id);
    if (found != actors_.end() && found->second == core) actors_.erase(found);
  }
  count_reference(core->id, -1);
}

void Client::kill_actor(ActorCore& core, bool no_restart) {
  send(message::KillActor{.actor = core.id, .no_restart = no_restart});
  if (!no_restart) return;
  // Who has killed it knows so at once.
  const std::lock_guard lock(core.mutex);
  if (core.state == ActorState::dead) return;
  core.state = ActorState::dead;
  core.death = std::make_exception_ptr(
      ActorDiedError(actor_title(core) + killed_words(core.options.max_restarts, true)));
}

void Client::on(message::ActorEnded&& ended) {
  const std::lock_guard lock(actors_mutex_);
  const auto found = actors_.find(ended.actor);
  if (found == actors_.end()) return;
  ActorCore& core = *found->second;
  const std::lock_guard state(core.mutex);
  core.state = ActorState::dead;
  const std::exception_ptr error =
      thrown_by([&] { core.death = failure_from(decode_failure(ended.failure))->exception; });
  if (error != nullptr) core.death = error;
}

/// Calls that come when the runtime is gone find their actors dead.
void Client::end_actors() {
  const std::lock_guard lock(actors_mutex_);
  for (auto& [id, core] : actors_) {
    const std::lock_guard state(core->mutex);
    if (core->state == ActorState::dead) continue;
    core->state = ActorState::dead;
    core->death = std::make_exception_ptr(
        ActorDiedError(actor_title(*core) + " ended: its runtime was shut down"));
  }
  actors_.clear();
}

void Client::fill_call(TaskSpec& spec, const ActorCall& call) {
  spec.kind = TaskKind::actor_call;
  spec.actor = call.core->id;
  spec.group = call.group;
  spec.demand = {};
  spec.max_retries = call.core->options.max_task_retries;
}

void References::write_actor(OutputArchive& out, ActorCore* actor) {
  const ActorOptions& options = actor->options;
  if (!actor->remote) throw_no_references("an ActorHandle of another runtime");
  contain(actor->id);
  out(actor->id, options.name, options.max_task_retries, options.max_pending_calls,
      options.concurrency_groups);
}

ActorCore* References::read_actor(InputArchive& in, const ActorClass* cls) {
  std::uint64_t id = 0;
  ActorOptions options;
  in(id, options.name, options.max_task_retries, options.max_pending_calls,
     options.concurrency_groups);
  return client_.adopt_actor(id, cls, options, false);
}

// --- the process in which it lives ---

void Client::host(message::Run&& run) {
  auto* creation = static_cast<Creation*>(make_task(run));
  auto core = new_actor_core(parts_.engine, creation->cls, run.task->id(),
                             options_of(run.task->creates.value_or(ActorSpec{})));
  if (run.checkpoint != 0) core->saved = fetch_checkpoint(run.checkpoint, *core->cls);
  core->options.max_restarts = 0;  // The node starts another process.
  core->options.max_task_retries = 0;
  core->options.max_pending_calls = -1;
  ActorCore* made = enter_actor(parts_.engine, std::move(core), creation);
  {
    const std::lock_guard lock(calls_mutex_);
    hosted_ = made;
    for (message::Run& call : early_calls_) start_call(std::move(call));
    early_calls_.clear();
  }
  parts_.engine.run_task(creation);
}

void Client::constructed(Creation* creation, const std::exception_ptr& error) {
  message::Done done;
  done.task = creation->task_id();
  done.attempt = extra_of(creation).order->attempt;
  done.values.push_back(error == nullptr ? WireValue{} : failed_value(error, ""));
  send(std::move(done));
}

/// Requires: calls_mutex_.
void Client::start_call(message::Run&& run) {
  Task* task = nullptr;
  const std::exception_ptr error = thrown_by([&] { task = make_task(run); });
  if (error != nullptr) {
    send(message::Began{run.task->id()});
    refuse(run, error);
    return;
  }
  auto* call = static_cast<ActorCall*>(task);
  call->core = hosted_;
  actor_retain(hosted_);
  call->group = run.task->group < hosted_->groups.size() ? run.task->group : 0;
  {
    const std::lock_guard lock(work_mutex_);
    running_[run.task->id()] = call;
  }
  actor_submit(hosted_, call, true);
}

void Client::take_call(message::Run&& run) {
  const std::lock_guard lock(calls_mutex_);
  if (hosted_ == nullptr) {
    early_calls_.push_back(std::move(run));
  } else {
    start_call(std::move(run));
  }
}

}  // namespace ray::detail
