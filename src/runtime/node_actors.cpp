// Actors: from their creation to their end, and the calls in between.
#include <algorithm>

#include "runtime/failures.hpp"
#include "runtime/node_state.hpp"
#include "task/failure_codec.hpp"
#include "task/text.hpp"

namespace ray::detail {

// --- creation ---

/// Null: its name belongs to another one, and its client was told.
ActorEntry* Node::State::add_actor(ClientId from, const TaskEntry& entry) {
  const std::uint64_t id = entry.spec->id();
  const ActorSpec& spec = *entry.spec->creates;
  const ActorEntry* existing = spec.name.empty() ? nullptr : actors.find_name(spec.name);
  if (existing != nullptr) {
    // Unless they share it its client throws, and holds nothing.
    if (spec.get_if_exists) references.take(from, existing->id);
    send(from, message::ActorFound{id, spec.get_if_exists ? existing->id : 0, existing->spec});
    return nullptr;
  }
  ActorEntry& actor = actors.add(id, spec);
  ++living_actors;
  references.take(from, id);
  if (!spec.name.empty()) {
    actors.take_name(actor);
    send(from, message::ActorFound{id, id, spec});
  }
  if (spec.detached) references.hold(id);
  return &actor;
}

void Node::State::submit_creation(ClientId from, TaskEntry& entry) {
  ActorEntry* added = add_actor(from, entry);
  if (added == nullptr) {
    end_task(entry);
    return;
  }
  ActorEntry& actor = *added;
  if (shut) {
    actor_died(actor,
               failure(ErrorCode::actor_died,
                       actor_words(actor) + " ended: its runtime was shut down", name_of(entry)));
  } else if (const auto why = ledger().infeasible(entry.spec->demand)) {
    actor_died(actor, failure(ErrorCode::unschedulable,
                              actor_words(actor) + " can never start: it " + *why, name_of(entry)));
  } else if (living_actors >= limits.workers_max) {
    // With the last process an actor would take what all tasks need, for as long as it lives.
    actor_died(
        actor,
        failure(ErrorCode::unschedulable,
                actor_words(actor) + " would be one of " + std::to_string(living_actors) +
                    " actors, each in a process of its own, and there may be " +
                    std::to_string(limits.workers_max) + " worker processes, one of them for tasks",
                name_of(entry)));
  } else if (!broken.empty()) {
    actor_died(actor, extend_failure(broken, name_of(entry)));
  } else {
    start_waiting(entry);
  }
}

void Node::State::tell_of_actor(ClientId client, std::uint64_t id, ActorEntry* actor) {
  if (actor == nullptr) {
    send(client, message::ActorEnded{id, failure(ErrorCode::actor_died,
                                                 "the actor is gone: its handles were dropped")});
    return;
  }
  // Also of one that is dead and has its name no more: the client holds it.
  if (!actor->spec.name.empty()) send(client, message::ActorFound{id, id, actor->spec});
  if (actor->state == ActorEntry::State::dead) {
    send(client, message::ActorEnded{id, actor->failure});
  }
}

void Node::State::handle(ClientId from, message::FindActor& find) {
  ActorEntry* actor = actors.find_name(find.name);
  if (actor == nullptr) {
    send(from, message::ActorFound{find.request, 0, {}});
    return;
  }
  references.take(from, actor->id);
  send(from, message::ActorFound{find.request, actor->id, actor->spec});
}

void Node::State::created(ClientId from, TaskEntry& creation, message::Done& done) {
  ActorEntry& actor = *actors.find(creation.spec->id());
  for (const WireValue& value : done.values) discard(from, value);
  const bool failed = done.values.size() == 1 && done.values[0].kind == WireValue::Kind::failure;
  if (!failed) {
    actor.state = ActorEntry::State::alive;
    creation.state = TaskState::kept;
    ++kept;
    actors_to_send.push_back(actor.id);
    return;
  }
  leave_process(actor, creation);
  if (actor.may_restart()) {
    creation.state = TaskState::waiting;
    restart(actor);
    return;
  }
  creation.state = TaskState::waiting;
  std::string why = described(done.values[0].bytes);
  if (!why.starts_with("actor ")) why = actor_words(actor) + " could not start: " + why;
  if (actor.restarts != 0) {
    why += " (after " + std::to_string(actor.restarts) + " restarts, all that max_restarts allows)";
  }
  actor_died(actor, failure(ErrorCode::actor_died, why, name_of(creation)));
}

/// The actor has no use for its process any more, which ends in order.
void Node::State::leave_process(ActorEntry& actor, TaskEntry& creation) {
  const ClientId worker = std::exchange(actor.worker, 0);
  if (leases.find(worker) == nullptr) return;
  if (std::exchange(creation.reserved, false)) leaving[worker] = creation.spec->demand;
  if (leases.find(worker)->phase == PoolWorker::Phase::ending) return;
  leases.end_soon(worker, now);
  send(worker, message::Exit{});
}

// --- checkpoints ---

/// The actor starts again from this state; the one before it is not needed any more.
void Node::State::save_checkpoint(ClientId from, const TaskEntry& call, Boxed<WireValue>& given) {
  WireValue state = std::move(*given);
  given = {};
  ActorEntry* actor =
      call.spec->kind == TaskKind::actor_call ? actors.find(call.spec->actor) : nullptr;
  if (actor == nullptr || actor->worker != from) {
    discard(from, state);
    return;
  }
  if (state.kind == WireValue::Kind::failure) {
    fault(from, "it sent a failure for the state of its actor");
    return;
  }
  const std::uint64_t id = checkpoint_id(actor->id, ++actor->checkpoints);
  objects[id];  // Pending.
  references.hold(id);
  seal(from, id, std::move(state));
  drop_checkpoint(*actor);
  actor->checkpoint = id;
}

void Node::State::drop_checkpoint(ActorEntry& actor) {
  if (const std::uint64_t old = std::exchange(actor.checkpoint, 0)) release(old);
}

// --- calls ---

void Node::State::submit_call(TaskEntry& entry) {
  ActorEntry* actor = actors.find(entry.spec->actor);
  if (!entry.holds_actor) hold(entry.spec->actor);
  entry.holds_actor = true;
  if (actor == nullptr) {
    fail_task(entry, failure(ErrorCode::actor_died,
                             task_words(entry) + " has no actor: its handles were dropped",
                             name_of(entry)));
  } else if (actor->state == ActorEntry::State::dead) {
    fail_task(entry, extend_failure(actor->failure, name_of(entry)));
  } else {
    start_waiting(entry);
  }
}

void Node::State::send_calls(ActorEntry& actor) {
  while (actor.state == ActorEntry::State::alive && !actor.staging &&
         actor.at_worker < ActorTable::kWindow) {
    const auto id = actors.first(actor);
    if (!id) return;
    TaskEntry& entry = *find_task(*id);
    // What is pinned for a call that waits could be what a running one lacks room for.
    const auto together = static_cast<std::uint32_t>(std::max(1, actor.spec.max_concurrency));
    if (actor.at_worker >= together && has_stored(entry)) return;
    switch (look_at_needs(entry)) {
      case Needs::there:
        actors.sent(actor, *id);
        send_run(entry, actor.worker, false);
        break;
      case Needs::on_disk:
        actor.staging = true;
        stage(entry);
        return;
      case Needs::pending:
        actor.staging = true;
        entry.state = TaskState::staging;
        return;
      case Needs::failed:
        return;
    }
  }
}

// --- death ---

void Node::State::actor_lost_worker(const PoolWorker& worker, const std::string& how,
                                    const std::vector<TaskEntry*>& begun,
                                    const std::vector<TaskEntry*>& waiting) {
  ActorEntry* actor = actors.find(worker.actor);
  if (actor != nullptr && actor->worker != worker.client) actor = nullptr;
  const bool restarts = actor != nullptr && !shut && actor->may_restart();
  const bool killed = actor != nullptr && std::exchange(actor->killed, false);
  const std::string died = "worker process " + std::to_string(worker.pid) + " " + how;
  TaskEntry* creation = actor != nullptr ? find_task(actor->id) : nullptr;
  std::vector<const TaskEntry*> again;  // While the actor still has its process.
  for (const TaskEntry* entry : begun) {
    if (!entry->spec->creates && outlives(*entry, worker)) again.push_back(entry);
  }
  if (creation != nullptr) {
    give_up_reserved(*creation);
    actor->worker = 0;
    if (creation->at_worker()) creation->state = TaskState::waiting;
  }
  for (TaskEntry* entry : begun) {
    if (entry->spec->creates) {
      if (entry->decided) answered(*entry);
    } else if (entry->decided) {
      answered(*entry);
    } else if (std::find(again.begin(), again.end(), entry) != again.end()) {
      ++entry->deaths;
      ++entry->attempt;
      requeue(*entry, true);
    } else {
      entry->state = TaskState::waiting;
      const std::string whose = actor != nullptr ? actor_words(*actor) : "its actor";
      const std::string why =
          killed ? whose +
                       " was killed by ray::kill while this call ran, and starts again; calls "
                       "with ActorOptions::max_task_retries would be repeated"
                 : whose + " died: " + died + " while it ran " + task_words(*entry) +
                       ", which may have run in part";
      fail_task(*entry, failure(ErrorCode::actor_died, why, name_of(*entry)));
    }
  }
  for (TaskEntry* entry : waiting) {
    if (entry->spec->creates) {
      if (entry->decided) answered(*entry);
    } else if (entry->decided) {
      answered(*entry);
    } else {
      requeue(*entry, true);
    }
  }
  if (actor == nullptr) return;
  if (restarts) {
    restart(*actor);
  } else {
    actor_died(*actor, failure(ErrorCode::actor_died,
                               actor_words(*actor) + " died: " + died +
                                   (actor->spec.max_restarts == 0
                                        ? ""
                                        : ", and no restarts are left (of " +
                                              std::to_string(actor->spec.max_restarts) + ")")));
  }
}

void Node::State::restart(ActorEntry& actor) {
  TaskEntry& creation = *find_task(actor.id);
  if (creation.state == TaskState::kept) --kept;
  ++actor.restarts;
  ++creation.attempt;
  creation.worker = 0;
  creation.state = TaskState::waiting;
  actor.state = ActorEntry::State::pending;
  start_waiting(creation, true);
}

void Node::State::actor_died(ActorEntry& actor, const Bytes& why) {
  if (actor.state == ActorEntry::State::dead) return;
  actor.state = ActorEntry::State::dead;
  --living_actors;
  actor.failure = why;
  drop_checkpoint(actor);
  actors.drop_name(actor);
  for (const std::uint64_t call : actors.unsent(actor)) {
    const TaskEntry* entry = find_task(call);
    failing.emplace_back(call, extend_failure(why, name_of(*entry)));
  }
  if (const PoolWorker* worker = leases.find(actor.worker)) {
    std::vector<std::uint64_t> calls;
    for (const auto& [call, leased] : worker->calls) calls.push_back(call);
    std::sort(calls.begin(), calls.end());
    for (const std::uint64_t call : calls) {
      const TaskEntry* entry = find_task(call);
      if (entry == nullptr || entry->spec->creates) continue;
      failing.emplace_back(call, extend_failure(why, name_of(*entry)));
    }
  }
  for (const ClientId client : references.clients_of(actor.id)) {
    send(client, message::ActorEnded{actor.id, why});
  }
  end_creation(actor);
  if (actor.spec.detached) {
    release(actor.id);
  } else if (references.count(actor.id) == 0) {
    unreferenced.push_back(actor.id);
  }
}

/// The actor will not be made again.
void Node::State::end_creation(ActorEntry& actor) {
  TaskEntry* creation = find_task(actor.id);
  if (creation == nullptr) return;
  creation->revived = false;
  if (creation->decided) return;
  leave_process(actor, *creation);
  if (creation->state == TaskState::kept) {
    --kept;
    creation->state = TaskState::waiting;
  }
  if (creation->at_worker()) {
    creation->decided = true;
  } else {
    end_task(*creation);
  }
}

void Node::State::unreferenced_actor(ActorEntry& actor) {
  // Its calls hold it: there are none any more.
  if (actor.state != ActorEntry::State::dead) --living_actors;
  drop_checkpoint(actor);
  end_creation(actor);
  actors.erase(actor.id);
}

void Node::State::handle(ClientId, message::KillActor& said) {
  ActorEntry* actor = actors.find(said.actor);
  if (actor == nullptr || actor->state == ActorEntry::State::dead) return;
  const bool dying = actor->killed || actor->worker == 0;
  const std::int32_t restarts = actor->restarts + (actor->killed ? 1 : 0);
  if (actor->worker != 0) kill(actor->worker, "ray::kill");
  if (said.no_restart || (actor->spec.max_restarts >= 0 && restarts >= actor->spec.max_restarts)) {
    actor_died(*actor, failure(ErrorCode::actor_died,
                               actor_words(*actor) +
                                   killed_words(actor->spec.max_restarts, said.no_restart)));
  } else if (dying) {
    ++actor->restarts;  // It has not begun to start again.
  } else {
    actor->killed = true;
  }
}

}  // namespace ray::detail
