#include "runtime/node_report.hpp"

#include <algorithm>
#include <span>

#include <ray/runtime/engine.hpp>
#include <ray/task/values.hpp>

#include "runtime/demands.hpp"
#include "runtime/node_state.hpp"
#include "task/failure_codec.hpp"

namespace ray {

/// It has more fields than the archives count.
template <class Archive>
void serialize(Archive& archive, TaskInfo& task) {
  archive(task.task_id, task.parent_id, task.name, task.state, task.attempt, task.worker_id,
          task.actor_id, task.file, task.line, task.submitted, task.ready, task.started);
  archive(task.ended, task.args, task.submitter_id, task.error, task.pid);
}

namespace detail {

namespace {

constexpr std::size_t kTasksFirst = 20'000;  // So many are tried first; they have 400 bytes each.
constexpr std::size_t kAnswerBytes = std::size_t{8} << 20;  // To a worker.

std::map<std::string, double> amounts(std::int64_t cpu,
                                      const std::map<std::string, std::int64_t>& others) {
  const auto amount = [](std::int64_t units) {
    return static_cast<double>(units) / static_cast<double>(kCpuUnit);
  };
  std::map<std::string, double> result{{"CPU", amount(std::max<std::int64_t>(0, cpu))}};
  for (const auto& [name, units] : others) result[name] = amount(units);
  return result;
}

}  // namespace

Bytes encode_state(ray::State state, std::size_t most) {
  std::size_t tasks = most == SIZE_MAX ? SIZE_MAX : kTasksFirst;
  for (;; tasks /= 2) {
    if (state.tasks.size() > tasks) {
      const std::size_t surplus = state.tasks.size() - tasks;
      state.tasks.erase(state.tasks.begin(),
                        state.tasks.begin() + static_cast<std::ptrdiff_t>(surplus));
      state.tasks_dropped += surplus;
    }
    if (tasks == 0 && state.actors.size() > kTasksFirst) state.actors.resize(kTasksFirst);
    OutputArchive out;
    out(state);
    if (out.bytes().size() <= most || tasks == 0) return out.bytes();
  }
}

ray::State decode_state(const Bytes& bytes) {
  ray::State state;
  InputArchive in(bytes);
  in(state);
  in.finish("ray::State");
  return state;
}

NodeInfo Node::State::node_info() {
  NodeInfo info;
  info.resources = amounts(limits.total.cpu, limits.total.others);
  info.available = amounts(leases.free_cpu(), ledger().available());
  info.store_bytes = store.used();
  info.store_limit = limits.store_bytes;
  info.store_objects = store.objects();
  info.spilled_bytes = store.on_disk();
  return info;
}

std::vector<ActorInfo> Node::State::actor_infos() {
  std::vector<ActorInfo> infos;
  for (const std::uint64_t id : actors.ids()) {
    const ActorEntry& actor = *actors.find(id);
    ActorInfo info;
    info.actor_id = ActorId{id};
    info.class_name = actor.spec.class_name;
    info.name = actor.spec.name;
    info.restarts = actor.restarts;
    info.pending_calls = actors.unsent(actor).size() + actor.at_worker;
    info.finished_calls = actor.finished;
    using Life = ActorEntry::State;
    const ActorState before_alive =
        actor.restarts != 0 ? ActorState::restarting : ActorState::pending_creation;
    info.state = actor.state == Life::alive  ? ActorState::alive
                 : actor.state == Life::dead ? ActorState::dead
                                             : before_alive;
    if (const PoolWorker* worker = leases.find(actor.worker)) {
      info.worker_id = WorkerId{worker->client};
      info.pid = worker->pid;
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<WorkerInfo> Node::State::worker_infos() {
  std::vector<WorkerInfo> infos;
  for (const WorkerState& worker : worker_states()) {
    WorkerInfo info;
    info.worker_id = WorkerId{worker.client};
    info.pid = worker.pid;
    info.idle = worker.phase == WorkerState::Phase::idle;
    info.blocked = worker.phase == WorkerState::Phase::blocked;
    info.actor_id = ActorId{worker.actor};
    const TaskEntry* entry = find_task(worker.task);
    // Of an actor's calls the one that began first.
    for (const auto& [id, leased] : leases.find(worker.client)->calls) {
      const TaskEntry* call = find_task(id);
      if (call == nullptr || call->state != TaskState::running) continue;
      if (entry == nullptr || call->begun_order < entry->begun_order) entry = call;
    }
    if (entry != nullptr) {
      info.task_id = TaskId{entry->spec->id()};
      info.task_name = name_of(*entry);
    }
    infos.push_back(std::move(info));
  }
  std::sort(infos.begin(), infos.end(), [](const WorkerInfo& left, const WorkerInfo& right) {
    return left.worker_id < right.worker_id;
  });
  return infos;
}

void Node::State::log_failure(std::uint64_t task, const Bytes& bytes) {
  if (!log.enabled()) return;
  FailureParts parts;
  try {
    parts = decode_failure(bytes);
  } catch (const SerializationError& error) {
    parts.text = error.what();
  }
  const bool cancelled = parts.code == ErrorCode::task_cancelled;
  log.ended(task, cancelled ? ray::TaskState::cancelled : ray::TaskState::failed,
            cancelled ? "" : parts.text, now);
}

std::vector<Node::WorkerState> Node::State::worker_states() {
  std::vector<WorkerState> states;
  for (const ClientId client : leases.clients()) {
    const PoolWorker& worker = *leases.find(client);
    WorkerState state;
    state.client = client;
    state.pid = worker.pid;
    state.actor = worker.actor;
    using Phase = WorkerState::Phase;
    if (worker.phase == PoolWorker::Phase::starting) {
      state.phase = Phase::starting;
    } else if (worker.phase == PoolWorker::Phase::ending) {
      state.phase = Phase::ending;
    } else if (worker.is_blocked() || (!worker.calls.empty() && !worker.calls_go_on())) {
      state.phase = Phase::blocked;
    } else {
      state.phase = worker.has_task() || !worker.calls.empty() ? Phase::running : Phase::idle;
    }
    if (!worker.stack.empty()) state.task = worker.stack.back().task;
    states.push_back(state);
  }
  return states;
}

void Node::State::handle(ClientId from, message::Ask& ask) {
  if (ask.what == kAskDemands) {
    DemandCounts counts;
    for (const std::uint64_t id : queue.all_ready()) {
      const TaskEntry& entry = *find_task(id);
      counts.add(entry.spec->demand, entry.spec->creates.has_value());
    }
    const std::string text = counts.text();
    const auto bytes = std::as_bytes(std::span(text));
    send(from, message::Answer{ask.request, Bytes(bytes.begin(), bytes.end())});
    return;
  }
  ray::State state;
  state.nodes.push_back(node_info());
  if (ask.what == kAskState) {
    state.actors = actor_infos();
    state.workers = worker_infos();
    state.tasks.assign(log.tasks().begin(), log.tasks().end());
    for (TaskInfo& task : state.tasks) {
      for (auto* time : {&task.submitted, &task.ready, &task.started, &task.ended}) {
        if (time->count() >= 0) *time = std::max(*time - started, NodeTime(0));
      }
    }
    state.task_events = log.enabled();
    state.tasks_recorded = log.recorded();
    state.tasks_dropped = log.dropped();
  }
  const std::size_t most = from == kDriverClient ? SIZE_MAX : kAnswerBytes;
  send(from, message::Answer{ask.request, encode_state(std::move(state), most)});
}

}  // namespace detail

}  // namespace ray
