// Tasks that are stopped: by ray::cancel, and all of them when the runtime is shut down.
#include <algorithm>

#include "runtime/node_state.hpp"

namespace ray::detail {

namespace {

constexpr NodeTime kEndInOrder = std::chrono::seconds(5);  // Then processes are killed.

}  // namespace

void Node::State::handle(ClientId, message::Cancel& said) {
  TaskEntry* entry = find_task(said.task);
  if (entry == nullptr) return;
  // By id, because the end of one changes the lists of others.
  std::vector<std::uint64_t> ids;
  std::vector<const TaskEntry*> look{entry};
  while (!look.empty()) {
    const TaskEntry* found = look.back();
    look.pop_back();
    ids.push_back(found->spec->id());
    if (!said.recursive) break;
    for (const TaskEntry* child = found->first_child; child != nullptr; child = child->next) {
      look.push_back(child);
    }
  }
  for (const std::uint64_t id : ids) {
    if (TaskEntry* found = find_task(id)) cancel(*found, said.force, id == said.task);
  }
}

void Node::State::cancel(TaskEntry& entry, bool force, bool itself) {
  if (entry.state == TaskState::kept || entry.spec->creates) return;
  const std::uint64_t id = entry.spec->id();
  const bool running = entry.state == TaskState::running;
  const ClientId worker = entry.at_worker() ? entry.worker : 0;
  // One that has no use any more may run on: force ends it.
  if (!entry.decided) {
    fail_task(entry, failure(ErrorCode::task_cancelled,
                             task_words(entry) +
                                 (itself ? " was cancelled by ray::cancel"
                                         : " was cancelled together with the task that had started "
                                           "it; to spare it, cancel with {.recursive = false}"),
                             name_of(entry)));
    if (worker != 0) send(worker, message::CancelTask{id});
  }
  if (worker == 0 || !force) return;
  if (running) {
    end_by_force(*find_task(id));
  } else {
    find_task(id)->forced = true;
  }
}

void Node::State::end_by_force(const TaskEntry& entry) {
  // An actor's process has other calls and a state.
  const PoolWorker* process = leases.find(entry.worker);
  if (process->actor != 0) return;
  for_cancel.insert(entry.worker);
  if (process->phase == PoolWorker::Phase::ready) kill(entry.worker, "ray::cancel with force");
}

void Node::State::shut_down() {
  if (std::exchange(shut, true)) return;
  for (const std::uint64_t id : actors.ids()) {
    if (ActorEntry* actor = actors.find(id)) {
      actor_died(*actor, failure(ErrorCode::actor_died,
                                 actor_words(*actor) + " ended: its runtime was shut down"));
    }
  }
  std::vector<std::uint64_t> ids;
  for (const auto& [id, entry] : tasks) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const std::uint64_t id : ids) {
    TaskEntry* entry = find_task(id);
    if (entry == nullptr || entry->decided || entry->spec->creates) continue;
    if (entry->state == TaskState::kept) {
      // No result is made again from here on.
      forget_kept(id);
      continue;
    }
    const bool call = entry->spec->kind == TaskKind::actor_call;
    fail_task(*entry,
              failure(call ? ErrorCode::actor_died : ErrorCode::task_cancelled,
                      task_words(*entry) +
                          " did not end: its runtime was shut down first; get its result before",
                      name_of(*entry)));
  }
  for (const ClientId client : leases.clients()) {
    const PoolWorker::Phase phase = leases.find(client)->phase;
    leases.end_soon(client, now);
    if (phase == PoolWorker::Phase::starting) {
      out->push_back(decision::KillWorker{client, "the runtime was shut down"});
    } else if (phase == PoolWorker::Phase::ready) {
      // What runs there is asked to stop.
      const PoolWorker& worker = *leases.find(client);
      for (const LeasedTask& task : worker.stack) send(client, message::CancelTask{task.task});
      for (const auto& [task, leased] : worker.suspended) send(client, message::CancelTask{task});
      for (const auto& [call, leased] : worker.calls) send(client, message::CancelTask{call});
      send(client, message::Exit{});
    }
  }
  if (leases.size() != 0) kill_at = now + kEndInOrder;
}

/// Nobody has a reference to what it makes.
void Node::State::abandon(TaskEntry& entry) {
  if (entry.live_results != 0 || entry.state == TaskState::kept) return;
  if (entry.decided) {
    entry.revived = false;
    return;
  }
  if (!entry.at_worker()) {
    end_task(entry);
    return;
  }
  entry.decided = entry.abandoned = true;
  send(entry.worker, message::CancelTask{entry.spec->id()});
}

}  // namespace ray::detail
