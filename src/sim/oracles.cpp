// What must hold of every run, whatever goes wrong in it (reliability.md, 3.3).
#include "sim/world.hpp"

namespace ray::sim {

void World::began(const TaskSpec& spec, std::int32_t attempt) {
  const std::uint64_t times = ++begun_[spec.id()];
  const bool same_again = !attempts_.insert({spec.id(), attempt}).second;
  count("began");
  // A parent that runs once more finds its children. Not so where it threw and gave them up, where
  // it was a stream whose reader died, and where a forced cancel took others along.
  const bool strict = options.program.throwing == 0 && options.disk_lost == 0 && !forced_any;
  const bool deaths = options.crash != 0 || memory_any || killed_any;
  if (!strict || (deaths && options.program.streams)) return;
  if (same_again) wrong("O3: an attempt was made twice");
  if (spec.kind == detail::TaskKind::actor_creation || spec.max_retries < 0) return;
  if (times > static_cast<std::uint64_t>(spec.max_retries) + 1) {
    wrong("O3: a task ran too often");
  }
}

void World::restored(std::uint64_t actor, std::uint64_t calls, bool anew) {
  // A parent that threw may have dropped it, and makes another one of that name.
  if (anew) saved_.erase(actor);
  const std::uint64_t saved = saved_[actor];
  if (calls != 0) count("resumed");
  if (calls > saved) wrong("O8: an actor goes on from a state that it never had");
  if (calls < saved && (calls != 0 || options.program.throwing == 0)) {
    wrong("O8: an actor goes on from a state that is not its newest");
  }
}

void World::sealed(std::uint64_t object, const WireValue& value) {
  Bytes said = value.bytes;
  said.push_back(static_cast<std::byte>(value.kind));
  const auto [first, is_first] = told_.try_emplace(object, said);
  if (!is_first && first->second != said && options.crash == 0 && options.disk_lost == 0 &&
      options.program.throwing == 0) {
    wrong("O3: two values were told of one object");
  }
}

bool World::allowed(const Bytes& failure) const {
  const bool crashes = options.crash != 0 || options.no_start != 0;
  switch (detail::decode_failure(failure).code) {
    case ErrorCode::worker_crashed:
      return crashes;
    case ErrorCode::actor_died:
      return actors_die();
    case ErrorCode::task_cancelled:
      return cancelled_any || options.shut_down;
    case ErrorCode::object_lost:
      return options.disk_lost != 0 && !options.program.rebuilds;
    case ErrorCode::object_store_full:
    case ErrorCode::out_of_disk:
      return options.node.store_bytes < 4'000'000 || options.disk_full != 0 ||
             options.no_segment != 0;
    case ErrorCode::unschedulable:
      return options.node.workers_max < 40;
    case ErrorCode::out_of_memory:
      return memory_any;
    case ErrorCode::deadlock:
      return options.node.workers_max < 40 || options.program.gpu != 0;
    default:
      return false;
  }
}

bool World::actors_die() const {
  const bool crashes = options.crash != 0 || options.no_start != 0;
  // A constructor's worker may be gone for other reasons than its own.
  return crashes || killed_any || memory_any || forced_any || options.shut_down ||
         options.node.workers_max < 40;
}

void World::cancelled(const Process& driver, std::vector<std::uint64_t> objects) {
  count("cancel");
  cancelled_any = true;
  after(std::chrono::seconds(1), [this, &driver, objects = std::move(objects)] {
    for (const std::uint64_t object : objects) {
      if (driver.waits_for(object)) wrong("O1: a cancelled task is not released");
    }
  });
}

std::string World::workers_in_words() const {
  std::string words;
  for (const auto& worker : node_.workers()) {
    words += "; worker " + std::to_string(worker.client) + " phase " +
             std::to_string(static_cast<int>(worker.phase)) + " task " +
             detail::hex_id(worker.task).substr(0, 6) + " actor " +
             detail::hex_id(worker.actor).substr(0, 6);
  }
  return words;
}

void World::check_end() {
  const Process& driver = *processes_[detail::kDriverClient];
  if (!driver.finished()) {
    const Frame& frame = *driver.top();
    wrong("O1: the driver waits for ever, at step " + std::to_string(frame.step) + ", result " +
          std::to_string(frame.gathered) + ", " +
          detail::hex_id(frame.gathered < frame.ids.size() ? frame.ids[frame.gathered] : 0) +
          "; free CPU " + std::to_string(node_.available().cpu) + ", GPU " +
          std::to_string(node_.available().others["GPU"]) + workers_in_words());
    return;
  }
  const detail::Node::Counts counts = node_.counts();
  std::size_t held = 0;
  for (const auto& [client, process] : processes_) {
    if (!process->dead) held += process->held();
  }
  const auto expect = [&](const char* what, std::uint64_t is, std::uint64_t shall) {
    if (is == shall) return;
    wrong("O4: " + std::to_string(is) + " " + what + " are left, not " + std::to_string(shall));
  };
  expect("references of clients", held, 0);
  expect("tasks", counts.tasks, 0);
  expect("actors", counts.actors, 0);
  expect("objects", counts.objects, 0);
  expect("references", counts.references, 0);
  expect("bytes in memory", counts.stored_bytes, 0);
  expect("bytes on disk", counts.spilled_bytes, 0);
  expect("spills", disk_.size(), 0);
  const detail::Demand available = node_.available();
  if (!(available == limits_.total)) {
    wrong("O5: resources did not come back: CPU " + std::to_string(available.cpu) + " of " +
          std::to_string(limits_.total.cpu));
  }
}

}  // namespace ray::sim
