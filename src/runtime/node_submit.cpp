// The life of a task until it is ready.
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

}  // namespace ray::detail
