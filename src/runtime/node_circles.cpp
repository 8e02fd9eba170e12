// Tasks that wait for one another in a circle, and all workers blocked while tasks are ready.
//
// A circle is closed by a wait, or by a call that comes into line behind one that waits: whatever
// else changes takes waits away, or adds a task for which nobody waits yet. So each wait is looked
// at once, and those of an actor's calls when something comes into its line. Waits for a part of
// several objects and waits for a time (count 0) end by themselves and count as no wait.
#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "runtime/node_state.hpp"
#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr std::size_t kCircleLooksMax = 4096;
constexpr std::size_t kTitlesMax = 16;

}  // namespace

/// Whether it is still to be made here.
bool Node::State::is_to_come(std::uint64_t id, bool for_long) {
  if (const ObjectEntry* object = find_object(id)) {
    return object->state == ObjectState::pending && object->producer != 0;  // Or from outside.
  }
  // A stream's reader names its task. An item may be on its way, but not for long.
  const TaskEntry* stream = find_task(id);
  return stream != nullptr && stream->stream != nullptr && (for_long || !stream->at_worker());
}

bool Node::State::still_waits(const TaskEntry& entry, bool for_long) {
  const AwaitedSet& awaits = *entry.awaits;
  std::size_t there = 0;
  for (const std::uint64_t id : awaits.objects) there += is_to_come(id, for_long) ? 0 : 1;
  return awaits.count != 0 && there < awaits.count;
}

/// Of a coroutine. The driver may read on at any time, and one that was cancelled ends soon.
bool Node::State::sleeps_on(const TaskEntry& entry, bool for_long) {
  if (entry.decided && !for_long) return false;
  const bool for_reader = entry.awaited == entry.spec->id();
  if (for_reader && (entry.stream == nullptr || entry.stream->reader == kDriverClient))
    return false;
  return is_to_come(entry.awaited, for_long);
}

/// An actor's calls that have begun in a group, and how many may.
struct Node::State::InLine {
  std::vector<TaskEntry*> begun;      // Suspended ones too.
  std::vector<TaskEntry*> executing;  // Those of them that are not.
  std::size_t begun_max = 0;
  std::size_t executing_max = 0;
};

Node::State::InLine Node::State::line_of(const ActorEntry& actor, std::uint32_t group) {
  // As Group has it in the actor's own process.
  InLine line;
  const auto& groups = actor.spec.concurrency_groups;
  if (group != 0 && group <= groups.size()) {
    const auto limit = static_cast<std::size_t>(std::next(groups.begin(), group - 1)->second);
    line.begun_max = line.executing_max = limit;
  } else {
    group = 0;
    const auto limit = static_cast<std::size_t>(std::max(0, actor.spec.max_concurrency));
    line.begun_max = limit == 0 ? kCoroutinesMax : limit;
    line.executing_max = std::max<std::size_t>(1, limit);
  }
  for (const std::uint64_t id : actor.begun) {
    TaskEntry* call = find_task(id);
    if (call == nullptr || (call->spec->group <= groups.size() ? call->spec->group : 0) != group) {
      continue;
    }
    line.begun.push_back(call);
    if (!call->suspended) line.executing.push_back(call);
  }
  return line;
}

/// False: it cannot go on without each of these; true: not before one of them does. None: it can.
bool Node::State::what_it_waits_for(const TaskEntry& entry, std::vector<TaskEntry*>& tasks_found) {
  const auto add_makers = [&](const std::vector<std::uint64_t>& ids) {
    for (const std::uint64_t id : ids) {
      const ObjectEntry* object = find_object(id);
      if (object == nullptr || object->state != ObjectState::pending) continue;
      if (TaskEntry* maker = find_task(object->producer)) tasks_found.push_back(maker);
    }
  };
  const std::uint64_t id = entry.spec->id();
  ActorEntry* actor =
      entry.spec->kind == TaskKind::actor_call ? actors.find(entry.spec->actor) : nullptr;
  if (entry.state == TaskState::running && entry.suspended) {
    add_makers({entry.awaited});
    if (entry.awaited != 0 || actor == nullptr) return false;
    const InLine line = line_of(*actor, entry.spec->group);
    if (line.executing.size() >= line.executing_max) tasks_found = line.executing;
    return true;
  }
  if (entry.state == TaskState::running) {
    if (entry.awaits != nullptr && !entry.awaits->told &&
        entry.awaits->count == entry.awaits->objects.size()) {
      add_makers(entry.awaits->objects);
    }
    const PoolWorker* worker = leases.find(entry.worker);
    // What runs on top of it must end first.
    for (std::size_t i = worker != nullptr ? worker->stack.size() : 0; i-- > 1;) {
      if (worker->stack[i - 1].task != id || !worker->stack[i].nested) continue;
      if (TaskEntry* above = find_task(worker->stack[i].task)) tasks_found.push_back(above);
    }
    return false;
  }
  if (entry.decided) return false;
  if (queue.is_waiting(id)) {
    add_makers(entry.spec->needs);
    return false;
  }
  if (actor == nullptr) return false;
  if (const auto before = actors.held_by(id)) {
    if (TaskEntry* held = find_task(*before)) tasks_found.push_back(held);
    return false;
  }
  if (actor->state != ActorEntry::State::alive) {
    if (TaskEntry* creation = find_task(actor->id)) tasks_found.push_back(creation);
    return false;
  }
  const InLine line = line_of(*actor, entry.spec->group);
  if (line.begun.size() >= line.begun_max) {
    tasks_found = line.begun;
  } else if (line.executing.size() >= line.executing_max) {
    tasks_found = line.executing;
  }
  return true;
}

/// What stands in the actor's lines may wait in vain for those that have begun.
void Node::State::look_at_lines(const ActorEntry& actor) {
  if (actor.begun.empty()) return;
  for (std::uint32_t group = 0; group <= actor.spec.concurrency_groups.size(); ++group) {
    const InLine line = line_of(actor, group);
    const auto goes_on = [](const TaskEntry* call) {
      return call->suspended ? call->awaited == 0 : call->awaits == nullptr;
    };
    // A circle goes through each of them that keep others out.
    if (line.executing.size() >= line.executing_max &&
        std::none_of(line.executing.begin(), line.executing.end(), goes_on)) {
      look_for_circle(*line.executing.front());
    } else if (line.begun.size() >= line.begun_max &&
               std::none_of(line.begun.begin(), line.begun.end(), goes_on)) {
      look_for_circle(*line.begun.front());
    }
  }
}

/// Whether the task waits for itself in the end, and with it all that could help it. First all is
/// collected that it waits for; then, what can go on is taken away, and what waits for that; what
/// is left waits in vain.
void Node::State::look_for_circle(TaskEntry& start) {
  struct Waits {
    std::vector<TaskEntry*> waited_by;
    std::size_t left = 0;  // Of those it waits for: not found to go on.
    bool for_one = false;  // One of them is enough.
    bool goes_on = false;
    TaskEntry* next = nullptr;  // One of them, on the way round.
  };
  std::unordered_map<const TaskEntry*, Waits> looked;
  std::vector<TaskEntry*> look{&start};
  std::vector<TaskEntry*> going_on;
  std::vector<TaskEntry*> found;
  looked[&start];
  for (std::size_t i = 0; i < look.size(); ++i) {
    Waits& waits = looked.at(look[i]);
    found.clear();
    if (i < kCircleLooksMax) waits.for_one = what_it_waits_for(*look[i], found);
    waits.left = found.size();
    if (found.empty()) going_on.push_back(look[i]);
    for (TaskEntry* next : found) {
      const auto [it, first] = looked.try_emplace(next);
      it->second.waited_by.push_back(look[i]);
      if (first) look.push_back(next);
    }
  }
  if (looked.at(&start).waited_by.empty()) return;
  while (!going_on.empty()) {
    Waits& waits = looked.at(going_on.back());
    going_on.pop_back();
    if (std::exchange(waits.goes_on, true)) continue;
    for (TaskEntry* by : waits.waited_by) {
      Waits& other = looked.at(by);
      if (!other.goes_on && (--other.left == 0 || other.for_one)) going_on.push_back(by);
    }
  }
  if (looked.at(&start).goes_on) return;
  // The way round, from its end.
  look.assign(1, &start);
  for (std::size_t i = 0; i < look.size(); ++i) {
    for (TaskEntry* by : looked.at(look[i]).waited_by) {
      Waits& waits = looked.at(by);
      if (waits.goes_on || waits.next != nullptr) continue;
      waits.next = look[i];
      look.push_back(by);
    }
  }
  if (looked.at(&start).next == nullptr) return;  // What it waits for is in one, it is not.
  std::vector<std::string> names;
  for (const TaskEntry* at = &start; names.empty() || at != &start; at = looked.at(at).next) {
    names.push_back("'" + printable(name_of(*at)) + "'");
  }
  std::string why = "task " + names[0] + " waits for ";
  for (std::size_t i = 1; i < names.size() && i < kTitlesMax; ++i) {
    why += names[i] + ", which waits for ";
  }
  if (names.size() > kTitlesMax) why += "others, which wait for ";
  why += (names.size() == 2 ? std::string("it") : names[0]) + " in turn; break the circle";
  if (start.awaits != nullptr) start.awaits->told = true;
  start.awaited = 0;
  send(start.worker, message::Deadlock{start.spec->id(), why});
}

/// Whether a task is ready that lacks only a worker, or what blocked tasks hold. What an idle
/// worker does not take is an actor, and a coroutine will come back to that worker.
bool Node::State::lacks_what_is_blocked() {
  if (queue.has_fitting(leases.free_cpu())) return !leases.may_start();
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
  TaskEntry* newest = nullptr;
  for (const auto& [number, id] : blocked) {
    TaskEntry* entry = find_task(id);
    if (entry->asleep != 0) {
      if (!sleeps_on(*entry, for_long)) return;
      if (entry->awaited != id) newest = entry;  // Who waits for a reader cannot be told.
      continue;
    }
    // What runs on top of it waits as well, and keeps it from going on.
    const PoolWorker* worker = leases.find(entry->worker);
    if (!worker->stack.empty() && worker->stack.back().task != id) continue;
    if (entry->awaits->told || !still_waits(*entry, for_long)) return;
    newest = entry;
  }
  if (!lacks_what_is_blocked()) return;
  if (!waiting_fetches.empty()) {
    // There is no worker that could make the object again.
    const auto [client, id] = *waiting_fetches.rbegin();
    fetch_goes_on(client, id);
    std::erase(find_object(id)->fetchers, client);
    send(client, message::Fetched{id, failed_value(no_room(0, NoRoom::lost))});
    return;
  }
  if (newest == nullptr) return;
  if (newest->awaits != nullptr) newest->awaits->told = true;
  newest->awaited = 0;
  const std::string why =
      !queue.has_fitting(leases.free_cpu())
          ? "the tasks that are ready to run ask for resources that tasks hold which wait in get() "
            "or co_await; ask for them only where nothing is waited for"
      : leases.idle() == 0
          ? "all " + std::to_string(leases.size()) +
                " worker processes wait in get() or belong to actors while tasks are ready to "
                "run; raise the number of workers, or wait with co_await, which holds no worker"
          : "all " + std::to_string(leases.size()) +
                " worker processes wait in get(), belong to actors or have coroutines that wait, "
                "and an actor needs one of its own; raise the number of workers";
  send(newest->worker, message::Deadlock{newest->spec->id(), why});
}

}  // namespace ray::detail
