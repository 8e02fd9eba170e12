// The life of a task from where it is sent to a worker, to its end.
#include <algorithm>

#include "runtime/node_state.hpp"
#include "task/failure_codec.hpp"
#include "task/text.hpp"

namespace ray::detail {

// --- at a worker ---

void Node::State::handle(ClientId from, message::Began& began) {
  TaskEntry* entry = find_task(began.task);
  if (entry == nullptr || entry->worker != from || entry->state != TaskState::sent) return;
  leases.began(from, began.task, now);
  log.began(began.task, entry->attempt, from, leases.find(from)->pid, now);
  entry->state = TaskState::running;
  entry->begun_order = ++order;
  if (entry->spec->kind == TaskKind::actor_call) actors.began(began.task);
  dispatch_needed = true;
  if (entry->forced) end_by_force(*entry);
}

void Node::State::handle(ClientId from, message::GiveBack& given) {
  leases.recall_answered(from);
  dispatch_needed = true;
  // From the last, so that the first stands first again.
  for (auto id = given.tasks.rbegin(); id != given.tasks.rend(); ++id) {
    TaskEntry* entry = find_task(*id);
    if (entry == nullptr || entry->worker != from || entry->state != TaskState::sent) continue;
    if (entry->spec->kind == TaskKind::actor_call) {
      // Nobody else can run it.
      if (!entry->decided) {
        fault(from, "it gave back a call of its actor");
        return;
      }
      leases.done(from, *id, now);
    } else if (!leases.give_back(from, *id, now)) {
      continue;
    }
    unpin_run(*entry);
    if (entry->decided) {
      answered(*entry);
      continue;
    }
    // If it was to be nested there, that worker is not asked again.
    if (entry->nested) entry->nest_at = 0;
    requeue(*entry, true);
  }
}

bool Node::State::may_try_again(const TaskEntry& entry) const {
  return entry.spec->max_retries < 0 || entry.attempt < entry.spec->max_retries;
}

void Node::State::handle(ClientId from, message::Done& done) {
  TaskEntry* entry = find_task(done.task);
  for (const WireValue& value : done.values) {
    if (!accept(from, value)) return;
  }
  if (done.checkpoint && !accept(from, *done.checkpoint)) return;
  const auto drop = [&] {
    for (const WireValue& value : done.values) discard(from, value);
    if (done.checkpoint) discard(from, *done.checkpoint);
  };
  if (entry == nullptr || entry->worker != from || !entry->at_worker() ||
      entry->attempt != done.attempt) {
    drop();
    ++commits_dropped;
    return;
  }
  const bool failed = done.values.size() == 1 && done.values[0].kind == WireValue::Kind::failure;
  const bool creation = entry->spec->creates.has_value();
  const std::size_t expected = entry->stream != nullptr ? 1 : result_count(*entry->spec);
  if (!failed && !done.may_retry && done.values.size() != expected &&
      !(done.values.empty() && entry->stream != nullptr) && !creation && !entry->decided) {
    drop();
    fault(from, "it sent " + std::to_string(done.values.size()) + " results for " +
                    task_words(*entry) + ", which has " + std::to_string(expected));
    return;
  }
  unblock(*entry);
  leases.done(from, done.task, now);
  dispatch_needed = true;
  // Together with the result. The state of a call that nobody waits for any more counts as well.
  if (done.checkpoint) save_checkpoint(from, *entry, done.checkpoint);
  if (entry->decided) {
    drop();
    ++commits_dropped;
    answered(*entry);
  } else if (creation) {
    created(from, *entry, done);
  } else if (done.may_retry && may_try_again(*entry)) {
    drop();
    ++entry->attempt;
    requeue(*entry, false);
  } else {
    commit(from, *entry, done);
  }
}

void Node::State::commit(ClientId from, TaskEntry& entry, message::Done& done) {
  const std::uint64_t id = entry.spec->id();
  if (entry.stream != nullptr) {
    if (!done.values.empty() && done.values[0].kind == WireValue::Kind::failure) {
      log_failure(id, done.values[0].bytes);
    }
    end_stream(from, entry, done.values.empty() ? WireValue{} : std::move(done.values[0]));
  } else if (done.values.size() == 1 && done.values[0].kind == WireValue::Kind::failure) {
    log_failure(id, done.values[0].bytes);
    for (std::uint32_t i = 0; i < result_count(*entry.spec); ++i) {
      seal_failure(result_id(id, entry.spec->results, i), done.values[0].bytes);
    }
  } else {
    for (std::uint32_t i = 0; i < result_count(*entry.spec) && i < done.values.size(); ++i) {
      seal(from, result_id(id, entry.spec->results, i), std::move(done.values[i]));
    }
  }
  log.ended(id, ray::TaskState::finished, "", now);  // Unless it failed.
  end_task(entry);
}

// --- the end ---

void Node::State::fail_task(TaskEntry& entry, const Bytes& why) {
  const std::uint64_t id = entry.spec->id();
  if (entry.spec->creates) {
    if (ActorEntry* actor = actors.find(id)) {
      actor_died(*actor, why);
    } else {
      end_task(entry);
    }
    return;
  }
  log_failure(id, why);
  if (entry.stream != nullptr) end_stream(kDriverClient, entry, failed_value(why));
  for (std::uint32_t i = 0; i < result_count(*entry.spec); ++i) {
    seal_failure(result_id(id, entry.spec->results, i), why);
  }
  if (entry.at_worker()) {
    entry.decided = true;
  } else {
    end_task(entry);
  }
}

void Node::State::answered(TaskEntry& entry) {
  if (!entry.revived) {
    end_task(entry);
    return;
  }
  entry.decided = entry.abandoned = entry.revived = entry.forced = false;
  ++entry.attempt;
  give_up_reserved(entry);
  entry.worker = 0;
  actors.leave(entry.spec->id());
  if (entry.spec->kind == TaskKind::actor_call) {
    submit_call(entry);
  } else {
    start_waiting(entry);
  }
}

void Node::State::unlink(TaskEntry& entry) {
  for (TaskEntry* child = entry.first_child; child != nullptr;) {
    TaskEntry* next = child->next;
    child->parent = child->next = child->previous = nullptr;
    child = next;
  }
  entry.first_child = nullptr;
  if (entry.parent == nullptr) return;
  if (entry.previous != nullptr) {
    entry.previous->next = entry.next;
  } else {
    entry.parent->first_child = entry.next;
  }
  if (entry.next != nullptr) entry.next->previous = entry.previous;
  entry.parent = entry.next = entry.previous = nullptr;
}

void Node::State::give_up_reserved(TaskEntry& entry) {
  if (!std::exchange(entry.reserved, false)) return;
  ledger().release(entry.spec->demand);
  dispatch_needed = true;
}

void Node::State::end_task(TaskEntry& entry) {
  const std::uint64_t id = entry.spec->id();
  log.ended(id, ray::TaskState::cancelled, "", now);  // Unless it ended otherwise.
  unblock(entry);
  if (entry.state == TaskState::ready) dispatch_needed = true;  // For those that stood behind it.
  queue.forget(id);
  unstage(entry);
  give_up_reserved(entry);
  if (entry.spec->kind == TaskKind::actor_call) {
    ActorEntry* actor = actors.find(entry.spec->actor);
    if (actor != nullptr && entry.state == TaskState::staging) actor->staging = false;
    if (actor != nullptr) ++actor->finished;
    if (actors.leave(id)) look_at_lines(*actor);
    actors_to_send.push_back(entry.spec->actor);
    if (entry.holds_actor) release(entry.spec->actor);
  }
  if (entry.stream != nullptr) forget_stream(entry);
  drop_bequest(entry);
  unlink(entry);
  entry.worker = 0;
  entry.nest_at = 0;
  const bool kept_now = may_be_kept(entry);
  if (kept_now) keep(entry);
  // Freed at the end of the event, if nobody else has them.
  for (const std::uint64_t need : entry.spec->needs) release(need);
  for (const std::uint64_t inner : entry.spec->arguments.contains) release(inner);
  if (entry.spec->arguments.kind == WireValue::Kind::stored) release(arguments_id(id));
  if (!kept_now) tasks.erase(id);
}

/// A result in the store can get lost, and be made again; so can what others need for that. A small
/// one that refers to others is not held for those who need it, as it would hold those.
bool Node::State::may_be_kept(const TaskEntry& entry) {
  if (entry.spec->kind != TaskKind::task || shut || entry.spec->max_retries == 0 ||
      entry.stream != nullptr || entry.decided ||
      entry.spec->arguments.kind == WireValue::Kind::stored) {
    return false;
  }
  if (entry.heirs != 0) return true;
  for (std::uint32_t i = 0; i < result_count(*entry.spec) && entry.live_results != 0; ++i) {
    const ObjectEntry* object = find_object(result_id(entry.spec->id(), entry.spec->results, i));
    if (object == nullptr) continue;
    if (object->state == ObjectState::stored || !object->contains.empty()) return true;
  }
  return false;
}

}  // namespace ray::detail
