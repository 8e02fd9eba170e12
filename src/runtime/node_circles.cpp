// Blocked tasks that wait for one another, and all workers blocked while tasks are ready.
//
// A circle is closed by a wait: whatever else changes takes waits away, or adds a task for which
// nobody waits yet. So each blocked task is looked at once. Waits for a part of several objects
// and waits for a time (count 0) end by themselves and count as no wait.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "runtime/node_state.hpp"
#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr std::size_t kCircleLooksMax = 4096;
constexpr std::size_t kTitlesMax = 16;

}  // namespace

bool Node::State::still_waits(const TaskEntry& entry, bool for_long) {
  const AwaitedSet& awaits = *entry.awaits;
  std::size_t there = 0;
  for (const std::uint64_t id : awaits.objects) {
    const ObjectEntry* object = find_object(id);
    if (object != nullptr && object->state == ObjectState::pending) continue;
    // A stream's reader names its task. An item may be on its way, but not for long.
    const TaskEntry* stream = object == nullptr ? find_task(id) : nullptr;
    if (stream != nullptr && stream->stream != nullptr && (for_long || !stream->at_worker())) {
      continue;
    }
    ++there;
  }
  return awaits.count != 0 && there < awaits.count;
}

/// Without each of these the task cannot go on.
void Node::State::what_it_waits_for(const TaskEntry& entry, std::vector<TaskEntry*>& tasks_found) {
  const auto add_makers = [&](const std::vector<std::uint64_t>& ids) {
    for (const std::uint64_t id : ids) {
      const ObjectEntry* object = find_object(id);
      if (object == nullptr || object->state != ObjectState::pending) continue;
      if (TaskEntry* maker = find_task(object->producer)) tasks_found.push_back(maker);
    }
  };
  const std::uint64_t id = entry.spec->id();
  const bool call = entry.spec->kind == TaskKind::actor_call;
  if (entry.awaits != nullptr && entry.awaits->count == entry.awaits->objects.size()) {
    add_makers(entry.awaits->objects);
  }
  const PoolWorker* worker = leases.find(entry.worker);
  if (entry.state == TaskState::running && worker != nullptr) {
    // What runs on top of it must end first.
    for (std::size_t i = worker->stack.size(); i-- > 1;) {
      if (worker->stack[i - 1].task != id) continue;
      if (TaskEntry* above = find_task(worker->stack[i].task)) tasks_found.push_back(above);
    }
    return;
  }
  if (entry.decided) return;
  if (queue.is_waiting(id)) {
    add_makers(entry.spec->needs);
    return;
  }
  if (!call) return;
  if (const auto before = actors.held_by(id)) {
    if (TaskEntry* held = find_task(*before)) tasks_found.push_back(held);
    return;
  }
  const ActorEntry* actor = actors.find(entry.spec->actor);
  if (actor == nullptr) return;
  if (actor->state != ActorEntry::State::alive) {
    if (TaskEntry* creation = find_task(actor->id)) tasks_found.push_back(creation);
    return;
  }
  const PoolWorker* process = leases.find(actor->worker);
  if (process == nullptr || actor->spec.max_concurrency > 1 ||
      !actor->spec.concurrency_groups.empty()) {
    return;
  }
  for (const auto& [other, leased] : process->calls) {
    TaskEntry* running = find_task(other);
    if (leased.begun != NodeTime::zero() && running != nullptr) tasks_found.push_back(running);
  }
}

void Node::State::look_for_circle(TaskEntry& start) {
  if (start.awaits->count == 0 || start.awaits->count != start.awaits->objects.size()) return;
  if (!still_waits(start, false)) return;
  std::unordered_map<const TaskEntry*, TaskEntry*> from;  // Who waits for it.
  std::vector<TaskEntry*> look{&start};
  std::vector<TaskEntry*> found;
  while (!look.empty() && from.size() < kCircleLooksMax) {
    TaskEntry* entry = look.back();
    look.pop_back();
    found.clear();
    what_it_waits_for(*entry, found);
    for (TaskEntry* next : found) {
      if (!from.try_emplace(next, entry).second) continue;
      if (next != &start) {
        look.push_back(next);
        continue;
      }
      std::vector<std::string> names{"'" + printable(name_of(start)) + "'"};
      for (TaskEntry* at = entry; at != &start; at = from.at(at)) {
        names.push_back("'" + printable(name_of(*at)) + "'");
      }
      std::reverse(names.begin() + 1, names.end());
      std::string why = "task " + names[0] + " waits for ";
      for (std::size_t i = 1; i < names.size() && i < kTitlesMax; ++i) {
        why += names[i] + ", which waits for ";
      }
      if (names.size() > kTitlesMax) why += "others, which wait for ";
      why += names[0] + " in turn; break the circle";
      start.awaits->told = true;
      send(start.worker, message::Deadlock{start.spec->id(), why});
      return;
    }
  }
}

/// Whether a task is ready that lacks only a worker, or what blocked tasks hold.
bool Node::State::lacks_what_is_blocked() {
  if (queue.has_fitting(leases.free_cpu())) return leases.idle() == 0 && !leases.may_start();
  std::vector<const Demand*> held;
  for (const auto& [number, id] : blocked) {
    const TaskEntry* entry = find_task(id);
    if (!entry->reserved) continue;
    held.push_back(&entry->spec->demand);
  }
  if (held.empty()) return false;
  for (const Demand* demand : held) ledger().release(*demand);
  const bool fits = queue.has_fitting(leases.free_cpu());
  for (const Demand* demand : held) ledger().try_reserve(*demand);
  return fits;
}

/// Whether no worker goes on by itself.
bool Node::State::all_wait() const {
  std::size_t fetching = 0;
  ClientId last = kDriverClient;
  for (const auto& [client, object] : waiting_fetches) {
    if (std::exchange(last, client) == client) continue;
    const PoolWorker* worker = leases.find(client);
    if (worker != nullptr && leases.is_lively(*worker)) ++fetching;
  }
  return leases.lively() == fetching && (!blocked.empty() || fetching != 0);
}

void Node::State::look_for_stuck() {
  if (queue.ready() == 0 || !all_wait()) {
    stuck_since.reset();
    return;
  }
  const std::uint64_t newest_order = blocked.empty() ? 0 : blocked.rbegin()->first;
  if (!stuck_since || stuck_newest != newest_order) stuck_since = now;
  stuck_newest = newest_order;
  const bool for_long = now >= *stuck_since + kStuckFor;
  for (const auto& [number, id] : blocked) {
    const TaskEntry* entry = find_task(id);
    // What runs on top of it waits as well, and keeps it from going on.
    const PoolWorker* worker = leases.find(entry->worker);
    if (!worker->stack.empty() && worker->stack.back().task != id) continue;
    if (entry->awaits->told || !still_waits(*entry, for_long)) return;
  }
  if (!lacks_what_is_blocked()) return;
  if (!waiting_fetches.empty()) {
    // There is no worker that could make the object again.
    const auto [client, id] = *waiting_fetches.rbegin();
    fetch_goes_on(client, id);
    std::erase(find_object(id)->fetchers, client);
    WireValue none;
    none.kind = WireValue::Kind::failure;
    none.bytes = no_room(0, NoRoom::lost);
    send(client, message::Fetched{id, std::move(none)});
    return;
  }
  TaskEntry& newest = *find_task(blocked.rbegin()->second);
  newest.awaits->told = true;
  const std::string why =
      newest.reserved || leases.may_start() || leases.idle() != 0
          ? "the tasks that are ready to run ask for resources that tasks hold which wait in "
            "get(); "
            "ask for them only where nothing is waited for"
          : "all " + std::to_string(leases.size()) +
                " worker processes wait in get() or belong to actors while tasks are ready to "
                "run; raise the number of workers, or wait with co_await, which holds no worker";
  send(newest.worker, message::Deadlock{newest.spec->id(), why});
}

}  // namespace ray::detail
