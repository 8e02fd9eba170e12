// Tasks that have ended and are kept, because what they made is in the store and may get lost; and
// those that made what these would need again, as far back as it goes.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "runtime/node_state.hpp"

namespace ray::detail {

namespace {

/// Bytes of a kept task, about.
std::uint64_t cost_of(const TaskEntry& entry) { return 700 + entry.spec->arguments.bytes.size(); }

}  // namespace

/// Requires: what it needs is still held.
void Node::State::keep(TaskEntry& entry) {
  entry.state = TaskState::kept;
  ++kept;
  auto lineage = std::make_unique<Lineage>();
  const auto add = [&](std::uint64_t id) {
    const ObjectEntry* object = find_object(id);
    if (object == nullptr) return;  // An actor is not kept alive for it.
    if (object->state == ObjectState::inlined && object->contains.empty()) {
      hold(id);
      lineage->held.push_back(id);
      return;
    }
    TaskEntry* maker = find_task(object->producer);
    if (object->producer == 0 || maker == nullptr || maker == &entry) return;
    ++maker->heirs;
    lineage->made.push_back({id, object->producer, maker->born});
  };
  for (const std::uint64_t need : entry.spec->needs) add(need);
  for (const std::uint64_t inner : entry.spec->arguments.contains) add(inner);
  if (!lineage->held.empty() || !lineage->made.empty()) entry.lineage = std::move(lineage);
  if (entry.live_results == 0) kept_alone(entry);
}

/// Nobody has its results any more: it is kept for the sake of others, while there is room.
void Node::State::kept_alone(TaskEntry& entry) {
  if (entry.alone_since != 0) return;
  entry.alone_since = ++order;
  alone.emplace(entry.alone_since, entry.spec->id());
  lineage_bytes += cost_of(entry);
}

void Node::State::not_alone(TaskEntry& entry) {
  if (entry.alone_since == 0) return;
  alone.erase(std::exchange(entry.alone_since, 0));
  lineage_bytes -= cost_of(entry);
}

/// It is not run again, nor what only it would have needed.
void Node::State::forget_kept(std::uint64_t task) {
  std::vector<std::uint64_t> look{task};
  while (!look.empty()) {
    const std::uint64_t id = look.back();
    look.pop_back();
    TaskEntry& entry = *find_task(id);
    const std::unique_ptr<Lineage> lineage = std::move(entry.lineage);
    not_alone(entry);
    --kept;
    tasks.erase(id);
    if (lineage == nullptr) continue;
    for (const std::uint64_t held : lineage->held) release(held);
    for (const Lineage::Made& made : lineage->made) {
      TaskEntry* maker = find_task(made.maker);
      if (maker == nullptr || maker->born != made.born || --maker->heirs != 0) continue;
      if (maker->state != TaskState::kept || maker->live_results != 0) continue;
      look.push_back(made.maker);
    }
  }
}

/// Adds the tasks that make what it needs and what is gone. False if something cannot be made.
bool Node::State::add_lost_needs(const TaskEntry& entry, std::vector<std::uint64_t>& tasks_to_run) {
  const auto can_be_there = [&](std::uint64_t id) {
    if (objects.contains(id) || actors.find(id) != nullptr) return true;
    if (entry.lineage == nullptr) return false;
    for (const Lineage::Made& made : entry.lineage->made) {
      const TaskEntry* maker = made.object == id ? find_task(made.maker) : nullptr;
      if (maker == nullptr || maker->born != made.born) continue;
      tasks_to_run.push_back(made.maker);
      return true;
    }
    return false;
  };
  const TaskSpec& spec = *entry.spec;
  return std::all_of(spec.needs.begin(), spec.needs.end(), can_be_there) &&
         std::all_of(spec.arguments.contains.begin(), spec.arguments.contains.end(), can_be_there);
}

/// What the task made is made again, and before it what it needs for that. False if it cannot be.
/// `anew`: it was submitted again, which is no retry.
bool Node::State::run_for_lost(std::uint64_t task, bool anew) {
  std::vector<std::uint64_t> look{task};
  std::vector<std::uint64_t> to_run;
  std::unordered_set<std::uint64_t> seen;
  while (!look.empty()) {
    const std::uint64_t id = look.back();
    look.pop_back();
    if (!seen.insert(id).second) continue;
    const TaskEntry* entry = find_task(id);
    if (entry == nullptr) return false;
    if (entry->state != TaskState::kept) {
      if (entry->decided) return false;
      continue;  // It runs already.
    }
    if (shut || (!may_try_again(*entry) && !(anew && id == task))) return false;
    to_run.push_back(id);
    if (!add_lost_needs(*entry, look)) return false;
  }
  // What is made again is known from here on, and held by those that need it.
  for (const std::uint64_t id : to_run) {
    TaskEntry& entry = *find_task(id);
    not_alone(entry);
    entry.state = TaskState::waiting;
    --kept;
    ++entry.attempt;
  }
  std::vector<std::unique_ptr<Lineage>> lineages;
  for (const std::uint64_t id : to_run) {
    TaskEntry& entry = *find_task(id);
    if (entry.lineage != nullptr) {
      for (const Lineage::Made& made : entry.lineage->made) {
        TaskEntry* maker = find_task(made.maker);
        if (maker == nullptr || maker->born != made.born) continue;
        --maker->heirs;
        if (objects.contains(made.object)) continue;
        objects[made.object].producer = made.maker;
        ++maker->live_results;
      }
      lineages.push_back(std::move(entry.lineage));
    }
    for (const std::uint64_t need : entry.spec->needs) hold(need);
    for (const std::uint64_t inner : entry.spec->arguments.contains) hold(inner);
  }
  for (const auto& lineage : lineages) {
    for (const std::uint64_t held : lineage->held) release(held);
  }
  for (const std::uint64_t id : to_run) start_waiting(*find_task(id));
  return true;
}

}  // namespace ray::detail
