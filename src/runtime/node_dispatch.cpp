// Who runs what, and where: ready tasks go to idle workers, on top of blocked ones that wait for
// them, or ahead to busy ones; and what they need from disk is brought first.
#include <algorithm>

#include "runtime/node_state.hpp"
#include "task/wire.hpp"

namespace ray::detail {

void Node::State::dispatch() {
  if (shut) return;
  stage_next();
  nest_more();
  std::vector<std::uint64_t> lonely;  // Actors for which there is no process of their own.
  while (leases.idle() != 0) {
    const auto id = queue.pick(leases.free_cpu());
    if (!id) break;
    TaskEntry& entry = *find_task(*id);
    entry.reserved = !entry.spec->demand.only_cpu();
    const Needs needs = look_at_needs(entry);
    const auto client = leases.newest_idle(entry.spec->creates.has_value());
    if (needs == Needs::there && client) {
      send_run(entry, *client, false);
      continue;
    }
    give_up_reserved(entry);
    if (needs == Needs::there) {
      lonely.push_back(*id);
      continue;
    }
    entry.state = TaskState::waiting;
    if (needs == Needs::on_disk) stage(entry);
  }
  for (auto id = lonely.rbegin(); id != lonely.rend(); ++id) {
    queue.push(*id, find_task(*id)->spec->demand, true);
  }
  start_workers();
  while (leases.starting() < lonely.size() && start_worker()) {
  }
  send_ahead();
  recall_for_idle();
  look_for_stuck();
}

bool Node::State::has_stored(const TaskEntry& entry) {
  if (entry.spec->arguments.kind == WireValue::Kind::stored) return true;
  return std::any_of(entry.spec->needs.begin(), entry.spec->needs.end(),
                     [&](std::uint64_t need) { return store.contains(need); });
}

void Node::State::send_ahead() {
  // An older task that needs an idle worker gets none while all have more to do.
  if (!queue.plain_is_oldest() && !leases.may_start() && leases.starting() == 0) return;
  // What is pinned for a task that waits behind another could be what that one lacks room for.
  while (const auto id = queue.peek_plain(leases.free_cpu())) {
    TaskEntry& entry = *find_task(*id);
    const auto client = leases.with_room(entry.spec->function);
    if (!client || has_stored(entry)) return;
    queue.pick_plain(leases.free_cpu());
    const Needs needs = look_at_needs(entry);
    if (needs == Needs::there) {
      send_run(entry, *client, false);
    } else {
      entry.state = TaskState::waiting;
    }
  }
}

bool Node::State::start_worker() {
  const auto client = leases.start(now);
  if (!client) return false;
  out->push_back(decision::StartWorker{*client});
  return true;
}

void Node::State::start_workers() {
  if (!broken.empty() || !driver || (start_again > now && others_work())) return;
  // Those that are on their way will take what is ready now.
  std::size_t wanted = 0;
  if (leases.idle() == 0 && queue.has_fitting(leases.free_cpu())) {
    const std::int64_t slots = std::max<std::int64_t>(1, leases.free_cpu() / kPlainCpu);
    wanted = std::min(queue.ready(), static_cast<std::size_t>(slots));
  }
  while (leases.starting() < wanted && start_worker()) {
  }
  while (leases.pool() < limits.prestart && start_worker()) {
  }
}

void Node::State::recall_for_idle() {
  if (leases.idle() == 0 || queue.ready() != 0 || leases.free_cpu() < kPlainCpu) return;
  if (const auto client = leases.with_most_ahead()) recall(*client);
}

void Node::State::send_run(TaskEntry& entry, ClientId client, bool nested) {
  const std::uint64_t id = entry.spec->id();
  message::Run run;
  run.task = entry.spec;
  run.attempt = entry.attempt;
  run.nested = nested;
  run.values.reserve(entry.spec->needs.size());
  for (const std::uint64_t need : entry.spec->needs) {
    const ObjectEntry& object = *find_object(need);
    WireValue value = shown(object);
    if (object.state == ObjectState::stored) {
      store.pin(need, client);
      value.kind = WireValue::Kind::stored;
      value.place = store.place(need);
    }
    run.values.push_back(std::move(value));
  }
  // The bytes have the references too: where a message has no room for all, they are not named.
  std::size_t ids = run.values.size() + entry.spec->arguments.contains.size();
  for (const WireValue& value : run.values) ids += value.contains.size();
  if (ids > kIdsMax) {
    for (WireValue& value : run.values) value.contains.clear();
  }
  if (entry.spec->arguments.kind == WireValue::Kind::stored) {
    store.pin(arguments_id(id), client);
    run.task.edit().arguments.place = store.place(arguments_id(id));
  }
  unstage(entry);
  LeasedTask leased;
  leased.task = id;
  leased.function = entry.spec->function;
  leased.cpu = entry.spec->demand.cpu;
  leased.plain = is_plain_demand(entry.spec->demand);
  leased.nested = nested;
  entry.state = TaskState::sent;
  entry.suspended = false;
  entry.awaited = 0;
  entry.nested = nested;
  entry.worker = client;
  if (entry.spec->creates) {
    ActorEntry& actor = *actors.find(id);
    actor.state = ActorEntry::State::starting;
    actor.worker = client;
    run.checkpoint = actor.checkpoint;
    leases.give_to_actor(client, id, entry.spec->demand.cpu, actor.spec.max_concurrency);
  }
  leases.send(client, leased);
  send(client, std::move(run));
  if (entry.stream != nullptr && entry.stream->consumed != 0) {
    send(client, message::Credit{id, entry.stream->consumed});
  }
}

/// A task that is given back reads nothing any more.
void Node::State::unpin_run(TaskEntry& entry) {
  for (const std::uint64_t need : entry.spec->needs) {
    if (store.contains(need)) store.unpin(need, entry.worker, now, store_actions);
  }
  if (entry.spec->arguments.kind != WireValue::Kind::stored) return;
  store.unpin(arguments_id(entry.spec->id()), entry.worker, now, store_actions);
}

// --- on top of blocked tasks ---

bool Node::State::try_nest(TaskEntry& entry) {
  const ClientId client = entry.nest_at;
  const PoolWorker* worker = leases.find(client);
  if (worker == nullptr || worker->phase != PoolWorker::Phase::ready || !worker->is_blocked() ||
      !worker->sent.empty()) {
    return false;
  }
  const TaskEntry* below = find_task(worker->stack.back().task);
  if (below == nullptr || below->awaits == nullptr || !below->awaits->may_nest) return false;
  queue.forget(entry.spec->id());
  const Needs needs = look_at_needs(entry);
  if (needs == Needs::there) {
    send_run(entry, client, true);
  } else {
    entry.state = TaskState::waiting;
    if (needs == Needs::on_disk) stage(entry);
  }
  return true;
}

void Node::State::nest_awaited(TaskEntry& waits, ClientId client) {
  constexpr std::size_t kLooksMax = 256;
  std::vector<std::uint64_t> look(waits.awaits->objects.rbegin(), waits.awaits->objects.rend());
  for (std::size_t looked = 0; !look.empty() && looked < kLooksMax; ++looked) {
    const std::uint64_t id = look.back();
    look.pop_back();
    const ObjectEntry* object = find_object(id);
    if (object == nullptr || object->state != ObjectState::pending) continue;
    TaskEntry* maker = find_task(object->producer);
    if (maker == nullptr || maker->spec->kind != TaskKind::task || maker->nest_at == client ||
        !is_plain_demand(maker->spec->demand)) {
      continue;
    }
    maker->nest_at = client;
    if (maker->state == TaskState::ready) {
      to_nest.push_back(maker->spec->id());
    } else if (maker->state == TaskState::waiting) {
      look.insert(look.end(), maker->spec->needs.rbegin(), maker->spec->needs.rend());
    }
  }
}

void Node::State::nest_more() {
  if (to_nest.empty()) return;
  // Those whose worker has one on top already are kept for when that is done.
  std::deque<std::uint64_t> later;
  while (!to_nest.empty() && leases.free_cpu() >= kPlainCpu) {
    const std::uint64_t id = to_nest.front();
    to_nest.pop_front();
    TaskEntry* entry = find_task(id);
    if (entry == nullptr || entry->state != TaskState::ready || entry->nest_at == 0) continue;
    if (try_nest(*entry)) continue;
    const PoolWorker* worker = leases.find(entry->nest_at);
    if (worker != nullptr && worker->phase == PoolWorker::Phase::ready && !worker->stack.empty()) {
      later.push_back(id);
    } else {
      entry->nest_at = 0;
    }
    if (later.size() >= 16) break;
  }
  to_nest.insert(to_nest.end(), later.begin(), later.end());
}

// --- objects that are on disk ---

void Node::State::stage(TaskEntry& entry) {
  unstage(entry);  // An object may have been lost, and made again, since the others were brought.
  entry.state = TaskState::staging;
  to_stage.push_back(entry.spec->id());
  dispatch_needed = true;
}

void Node::State::stage_next() {
  // A few more than can run: what is brought for them is pinned.
  const auto most =
      static_cast<std::size_t>(std::max<std::int64_t>(1, limits.total.cpu / kPlainCpu));
  while (!to_stage.empty() && staging <= most) {
    const std::uint64_t id = to_stage.front();
    to_stage.pop_front();
    TaskEntry* entry = find_task(id);
    if (entry == nullptr || entry->state != TaskState::staging || entry->bringing) continue;
    std::vector<std::uint64_t> objects_needed;
    for (const std::uint64_t need : entry->spec->needs) {
      if (store.contains(need)) objects_needed.push_back(need);
    }
    if (entry->spec->arguments.kind == WireValue::Kind::stored) {
      objects_needed.push_back(arguments_id(id));
    }
    entry->bringing = true;
    ++staging;
    store.bring(id, std::move(objects_needed), false, now, store_actions);
  }
}

void Node::State::unstage(TaskEntry& entry) {
  entry.staged = false;
  if (!std::exchange(entry.bringing, false)) return;
  --staging;
  dispatch_needed = true;
  store.unpin_brought(entry.spec->id(), now, store_actions);
}

void Node::State::brought(std::uint64_t id) {
  if (const auto fetching = fetchings.find(id); fetching != fetchings.end()) {
    const Fetching wanted = fetching->second;
    fetchings.erase(fetching);
    if (is_client(wanted.client)) fetch(wanted.client, wanted.object, objects.at(wanted.object));
    store.unpin_brought(id, now, store_actions);
    release(wanted.object);
    return;
  }
  TaskEntry* entry = find_task(id);
  if (entry == nullptr || entry->state != TaskState::staging || !entry->bringing) return;
  entry->staged = true;
  became_ready(*entry, true);
}

void Node::State::not_brought(const store_action::NotBrought& action) {
  if (const auto fetching = fetchings.find(action.bringing); fetching != fetchings.end()) {
    const Fetching wanted = fetching->second;
    fetchings.erase(fetching);
    ObjectEntry& object = objects.at(wanted.object);
    if (action.why == NoRoom::lost) {
      // It fails, or is made again.
      lost(wanted.object);
      fetch(wanted.client, wanted.object, object);
    } else {
      send(wanted.client,
           message::Fetched{wanted.object, failed_value(no_room(object.size, action.why))});
    }
    release(wanted.object);
    return;
  }
  TaskEntry* entry = find_task(action.bringing);
  if (entry == nullptr || entry->state != TaskState::staging || !entry->bringing) return;
  unstage(*entry);
  if (action.why != NoRoom::lost) {
    const ObjectEntry* object = find_object(action.object);
    failing.emplace_back(action.bringing,
                         no_room(object != nullptr ? object->size : 0, action.why));
    return;
  }
  lost(action.object);
  if (action.object == arguments_id(action.bringing)) {
    failing.emplace_back(action.bringing, no_room(0, action.why));
    return;
  }
  const Needs needs = look_at_needs(*entry);
  if (needs == Needs::failed) return;
  if (needs == Needs::pending) {
    if (entry->spec->kind != TaskKind::actor_call) entry->state = TaskState::waiting;
  } else {
    stage(*entry);
  }
}

}  // namespace ray::detail
