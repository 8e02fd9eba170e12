// The life of a task, from Submit to the end.
#include <algorithm>

#include "runtime/node_state.hpp"
#include "task/failure_codec.hpp"
#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr std::uint32_t kResultsMax = 1U << 20;  // Of one task, apart from streams.

}  // namespace

std::uint32_t Node::State::result_count(const TaskSpec& spec) const {
  if (spec.kind == TaskKind::actor_creation || spec.results == kStreamResults) return 0;
  return spec.results == kOneResult ? 1 : spec.results;
}

// --- from Submit to ready ---

void Node::State::handle(ClientId from, message::Submit& submit) {
  const TaskSpec& spec = *submit.task;
  const bool creation = spec.kind == TaskKind::actor_creation;
  if (spec.kind > TaskKind::actor_call || creation != spec.creates.has_value() ||
      spec.demand.cpu < 0 || (spec.results != kStreamResults && spec.results > kResultsMax)) {
    fault(from, "it submitted a task that cannot be");
    return;
  }
  if (!accept(from, spec.arguments)) return;
  const std::uint64_t id = spec.id();
  TaskEntry* known = find_task(id);
  // If only some of its results are left, it runs for the others.
  std::uint32_t left = 0;
  while (left < result_count(spec) && objects.contains(result_id(id, spec.results, left))) ++left;
  if (known != nullptr || (left != 0 && left == result_count(spec)) || actors.find(id) != nullptr) {
    discard(from, spec.arguments);
    if (known != nullptr && known->spec->function != spec.function) {
      refuse_other_function(from, *known, spec);
    } else if (creation && known != nullptr && known->decided && actors.find(id) == nullptr) {
      // It was dropped while its constructor ran, and is made once more when that has ended.
      known->revived = add_actor(from, *known) != nullptr;
    } else if (creation) {
      take(from, id);
      tell_of_actor(from, id, actors.find(id));
    } else if (known != nullptr) {
      submit_again(from, *known);
    } else {
      submit_known_results(from, spec);
    }
    return;
  }
  TaskEntry& entry = tasks[id];
  entry.spec = submit.task;
  entry.born = ++order;
  if (!creation && log.enabled()) log.submitted(spec, name_of(spec), from, now);
  if (TaskEntry* parent = find_task(entry.spec->parent);
      parent != nullptr && parent->state != TaskState::kept) {
    entry.parent = parent;
    entry.next = parent->first_child;
    if (entry.next != nullptr) entry.next->previous = &entry;
    parent->first_child = &entry;
  }
  for (const std::uint64_t need : entry.spec->needs) hold(need);
  for (const std::uint64_t inner : entry.spec->arguments.contains) hold(inner);
  if (entry.spec->arguments.kind == WireValue::Kind::stored) {
    const std::uint64_t arguments = arguments_id(id);
    ObjectEntry& object = objects[arguments];
    object.state = ObjectState::stored;
    object.size = entry.spec->arguments.place.size;
    store.seal(from, entry.spec->arguments.place, arguments);
    references.hold(arguments);
  }
  make_results(from, entry);
  if (creation) {
    submit_creation(from, entry);
  } else if (shut) {
    fail_task(entry, failure(ErrorCode::task_cancelled,
                             task_words(entry) + " did not end: its runtime was shut down first",
                             name_of(entry)));
  } else if (entry.spec->kind == TaskKind::actor_call) {
    submit_call(entry);
  } else if (const auto why = ledger().infeasible(entry.spec->demand)) {
    fail_task(entry,
              failure(ErrorCode::unschedulable, task_words(entry) + " " + *why, name_of(entry)));
  } else if (!broken.empty()) {
    fail_task(entry, extend_failure(broken, name_of(entry)));
  } else {
    start_waiting(entry);
  }
}

void Node::State::make_results(ClientId from, TaskEntry& entry) {
  const std::uint64_t id = entry.spec->id();
  if (entry.spec->results == kStreamResults) {
    entry.stream = std::make_unique<StreamState>();
    entry.stream->reader = from;
    streams[from].insert(id);
  }
  for (std::uint32_t i = 0; i < result_count(*entry.spec); ++i) {
    const std::uint64_t result = result_id(id, entry.spec->results, i);
    ObjectEntry& object = objects[result];
    object.producer = id;
    ++entry.live_results;
    references.take(from, result);
    watch(from, result, object);
  }
}

void Node::State::submit_again(ClientId from, TaskEntry& entry) {
  const std::uint64_t id = entry.spec->id();
  if (entry.stream != nullptr) {
    // Each Submit of a stream is answered by one end, so that a reader knows what is whose.
    if (entry.decided && !entry.abandoned) {
      send(from, message::Item{id, 0, true, cancelled_value(entry)});
      return;
    }
    if (!entry.decided) end_stream(kDriverClient, entry, cancelled_value(entry));
    // What the last reader was sent is gone with it: the stream begins anew.
    if (!entry.decided && entry.at_worker()) {
      entry.decided = entry.abandoned = true;
      send(entry.worker, message::CancelTask{id});
    }
    entry.revived = entry.abandoned;
    forget_stream(entry);
    *entry.stream = StreamState{from, 0, 0};
    streams[from].insert(id);
    return;
  }
  bool missing = false;
  const bool anew = entry.state == TaskState::kept && entry.live_results == 0;
  for (std::uint32_t i = 0; i < result_count(*entry.spec); ++i) {
    const std::uint64_t result = result_id(id, entry.spec->results, i);
    ObjectEntry* object = find_object(result);
    if (object == nullptr) {
      object = &objects[result];
      object->producer = id;
      ++entry.live_results;
      missing = true;
    }
    references.take(from, result);
    watch(from, result, *object);
  }
  if (!missing) return;
  if (entry.abandoned) {
    entry.revived = true;
  } else if (entry.decided || (entry.state == TaskState::kept && !run_for_lost(id, anew))) {
    const Bytes why = failure(ErrorCode::object_lost,
                              "the result of " + task_words(entry) + " is gone: it was freed");
    for (std::uint32_t i = 0; i < result_count(*entry.spec); ++i) {
      seal_failure(result_id(id, entry.spec->results, i), why);
    }
  }
}

void Node::State::submit_known_results(ClientId from, const TaskSpec& spec) {
  for (std::uint32_t i = 0; i < result_count(spec); ++i) {
    const std::uint64_t result = result_id(spec.id(), spec.results, i);
    take(from, result);
    watch(from, result, objects.at(result));
  }
}

void Node::State::refuse_other_function(ClientId from, TaskEntry& entry, const TaskSpec& spec) {
  ObjectEntry refused;
  refused.state = ObjectState::failed;
  refused.bytes = failure(
      ErrorCode::invalid_argument,
      "task '" + printable(name_of(spec)) + "' has the place of " + task_words(entry) +
          ", which its parent submitted when it ran before; a task that is tried again must "
          "submit the same tasks in the same order",
      name_of(spec));
  for (std::uint32_t i = 0; i < result_count(spec); ++i) {
    const std::uint64_t result = result_id(spec.id(), spec.results, i);
    take(from, result);
    tell(from, result, refused);
  }
}

Node::State::Needs Node::State::look_at_needs(TaskEntry& entry) {
  const std::uint64_t id = entry.spec->id();
  std::vector<std::uint64_t> missing;
  bool on_disk = false;
  for (const std::uint64_t need : entry.spec->needs) {
    const ObjectEntry* object = find_object(need);
    if (object == nullptr || object->state == ObjectState::failed) {
      const Bytes gone = object != nullptr ? object->bytes
                                           : failure(ErrorCode::object_lost,
                                                     "an argument is an actor, not an object");
      failing.emplace_back(id, failed_need(entry, gone));
      return Needs::failed;
    }
    if (object->state == ObjectState::pending) missing.push_back(need);
    if (object->state == ObjectState::stored && !store.in_memory(need)) on_disk = true;
  }
  if (!missing.empty()) {
    unstage(entry);
    queue.wait(id, missing);
    return Needs::pending;
  }
  if (entry.spec->arguments.kind == WireValue::Kind::stored && !store.in_memory(arguments_id(id))) {
    on_disk = true;
  }
  return on_disk ? Needs::on_disk : Needs::there;
}

void Node::State::start_waiting(TaskEntry& entry, bool first) {
  entry.state = TaskState::waiting;
  const Needs needs = look_at_needs(entry);
  if (needs == Needs::failed) return;
  if (entry.spec->kind == TaskKind::actor_call) {
    if (needs != Needs::pending) log.moved(entry.spec->id(), ray::TaskState::pending_actor, now);
    actors.enter(*actors.find(entry.spec->actor), entry.spec->id(), entry.spec->parent,
                 needs != Needs::pending);
    actors_to_send.push_back(entry.spec->actor);
  } else if (needs != Needs::pending) {
    became_ready(entry, first);
  }
}

void Node::State::became_ready(TaskEntry& entry, bool first) {
  const std::uint64_t id = entry.spec->id();
  if (entry.spec->kind == TaskKind::actor_call) {
    // One whose arguments got lost and were made again is still the first of its actor.
    if (entry.state == TaskState::staging) {
      if (ActorEntry* actor = actors.find(entry.spec->actor)) actor->staging = false;
      entry.state = TaskState::waiting;
    }
    log.moved(id, ray::TaskState::pending_actor, now);
    actors.became_ready(id);
    actors_to_send.push_back(entry.spec->actor);
    if (const ActorEntry* actor = actors.find(entry.spec->actor)) look_at_lines(*actor);
    return;
  }
  entry.state = TaskState::ready;
  log.moved(id, ray::TaskState::pending_node, now);
  queue.push(id, entry.spec->demand, first);
  if (entry.nest_at != 0) to_nest.push_back(id);
  dispatch_needed = true;
}

void Node::State::requeue(TaskEntry& entry, bool first) {
  entry.worker = 0;
  entry.awaits.reset();
  give_up_reserved(entry);
  if (entry.spec->kind != TaskKind::actor_call) {
    start_waiting(entry, first);
    return;
  }
  entry.state = TaskState::waiting;
  log.moved(entry.spec->id(), ray::TaskState::pending_actor, now);
  actors.put_back(*actors.find(entry.spec->actor), entry.spec->id());
  actors_to_send.push_back(entry.spec->actor);
}

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
