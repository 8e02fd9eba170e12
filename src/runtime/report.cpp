// What a runtime tells of itself: state structs, the trace file, the status text.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <tuple>

#include <ray/error.hpp>
#include <ray/store/buffer.hpp>

#include "runtime/actor_core.hpp"
#include "runtime/demands.hpp"
#include "runtime/node_report.hpp"
#include "runtime/parts.hpp"
#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr std::size_t kWorkersShown = 20;

std::string micros(std::chrono::nanoseconds time) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f", static_cast<double>(time.count()) / 1000.0);
  return text;
}

std::string amount(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

class TraceFile {
public:
  explicit TraceFile(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "w")) {
    if (file_ == nullptr) fail();
    write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
  }
  void event(const std::string& json) {
    write(first_ ? "\n" : ",\n");
    first_ = false;
    write(json);
  }
  void finish() {
    write("\n]}\n");
    std::FILE* file = file_.release();
    if (std::fclose(file) != 0) fail();
  }

private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void write(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) fail();
  }
  [[noreturn]] void fail() {
    throw Error("ray::timeline: cannot write " + path_ + ": " + std::strerror(errno));
  }
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  bool first_ = true;
};

/// Which row of the trace: workers by number, all drivers together as 0.
std::uint64_t row(WorkerId worker) { return worker.value == kDriverWorker ? 0 : worker.value; }

/// What is ready to run and lacks resources: each shape of demand and how many ask for it.
std::string demands_of(EngineParts& parts) {
  std::string text;
  if (parts.client != nullptr) {
    text = parts.client->ask_text(kAskDemands);
  } else {
    DemandCounts counts;
    // Plain tasks stand in the lanes, where those that a waiting thread took out may leave a gap.
    const std::uint32_t lanes = parts.lane_count.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < lanes; ++i) counts.add_plain(parts.lanes[i].load()->size_hint());
    const std::lock_guard lock(parts.ledger_mutex);
    for (const auto& [demand, task] : parts.waiting) {
      if (task->sealed()) continue;  // Cancelled, and not taken out yet.
      counts.add(demand, task->has(kInternal));
    }
    text = counts.text();
  }
  return text.empty() ? "  (none)\n" : text;
}

bool is_over(const TaskInfo& task) { return task.state >= TaskState::finished; }

/// What the node knows, and of the tasks of this process what only that does: that they were not
/// sent, as ones that are sent are ready here, or how their result was understood.
State state_of_node(EngineParts& parts) {
  State state = parts.client->ask_state(kAskState);
  std::unordered_map<std::uint64_t, std::size_t> places;
  for (std::size_t i = 0; i < state.tasks.size(); ++i) places[state.tasks[i].task_id.value] = i;
  for (TaskInfo& own : parts.events.snapshot()) {
    const auto found = places.find(own.task_id.value);
    if (found == places.end()) {
      if (own.ready.count() >= 0) continue;  // The node does not keep it any more.
      ++state.tasks_recorded;
      state.tasks.push_back(std::move(own));
      continue;
    }
    TaskInfo& task = state.tasks[found->second];
    if (!own.error.empty()) task.error = std::move(own.error);
    if (!is_over(own) || is_over(task)) continue;
    task.state = own.state;
    task.ended = own.ended;
  }
  std::stable_sort(
      state.tasks.begin(), state.tasks.end(),
      [](const TaskInfo& left, const TaskInfo& right) { return left.submitted < right.submitted; });
  if (const std::size_t most = parts.options.max_task_events; state.tasks.size() > most) {
    const std::size_t surplus = state.tasks.size() - most;
    state.tasks.erase(state.tasks.begin(),
                      state.tasks.begin() + static_cast<std::ptrdiff_t>(surplus));
    state.tasks_dropped += surplus;
  }
  return state;
}

/// "2 running, 1 idle"; and each with what it does.
std::string processes_text(const State& state) {
  std::size_t idle = 0;
  std::size_t blocked = 0;
  std::size_t starting = 0;
  for (const WorkerInfo& worker : state.workers) {
    idle += worker.idle ? 1 : 0;
    blocked += worker.blocked ? 1 : 0;
    starting += worker.pid == 0 ? 1 : 0;
  }
  std::string text = "Worker processes: " + std::to_string(state.workers.size()) + " (" +
                     std::to_string(idle) + " idle, " + std::to_string(blocked) + " waiting, " +
                     std::to_string(starting) + " starting)\n";
  std::unordered_map<std::uint64_t, const ActorInfo*> actors;
  for (const ActorInfo& actor : state.actors) actors[actor.actor_id.value] = &actor;
  std::size_t shown = 0;
  std::size_t more = 0;
  for (const WorkerInfo& worker : state.workers) {
    if (worker.pid == 0 || (worker.idle && !worker.actor_id)) continue;
    if (shown++ >= kWorkersShown) {
      ++more;
      continue;
    }
    text += "  pid " + std::to_string(worker.pid) + ":";
    if (const auto found = actors.find(worker.actor_id.value); found != actors.end()) {
      text += " actor " + printable(found->second->class_name);
    }
    if (!worker.task_name.empty()) {
      text += (worker.blocked ? " waits in " : " runs ") + printable(worker.task_name, 48);
    }
    text += "\n";
  }
  if (more != 0) text += "  … and " + std::to_string(more) + " more\n";
  return text;
}

}  // namespace

State state_of(Engine& engine) {
  EngineParts& parts = engine.parts();
  if (parts.client != nullptr) return state_of_node(parts);
  State state;
  state.tasks = parts.events.snapshot();
  state.task_events = parts.events.enabled();
  state.tasks_recorded = parts.events.recorded();
  state.tasks_dropped = parts.events.dropped();
  {
    const std::lock_guard lock(parts.actors_mutex);
    for (ActorCore* core : parts.actors) {
      const std::lock_guard inside(core->mutex);
      ActorInfo info;
      info.actor_id = ActorId{core->id};
      info.class_name = std::string(core->cls->name());
      info.name = core->options.name;
      info.state = core->state;
      info.restarts = core->restarts;
      info.pending_calls = core->pending;
      info.finished_calls = core->finished;
      state.actors.push_back(std::move(info));
    }
  }
  {
    const std::lock_guard threads(parts.threads_mutex);
    const std::lock_guard sleep(parts.sleep_mutex);
    for (const auto& worker : parts.workers) {
      if (worker->gone.load()) continue;
      const bool idle = std::find(parts.sleeping.begin(), parts.sleeping.end(), worker.get()) !=
                        parts.sleeping.end();
      WorkerInfo info;
      info.worker_id = WorkerId{worker->number};
      info.idle = idle;
      info.spare = worker->spare;
      state.workers.push_back(std::move(info));
    }
  }
  state.nodes = nodes_of(engine);
  return state;
}

void write_timeline(Engine& engine, const std::string& path) {
  const State state = state_of(engine);
  if (!state.task_events) {
    throw InvalidArgumentError(
        "ray::timeline: tasks are not recorded; start with RuntimeOptions::task_events = true, "
        "--ray-task-events=1 or RAY_TASK_EVENTS=1");
  }
  TraceFile file(path);
  file.event("{\"ph\":\"M\",\"pid\":1,\"tid\":0,\"name\":\"process_name\",\"args\":{\"name\":" +
             json_string("node " + node_id_of(engine).hex()) + "}}");
  std::map<std::uint64_t, std::string> rows{{0, "driver"}};
  const auto row_name = [](WorkerId worker, std::int64_t pid) {
    return "worker " + std::to_string(worker.value) +
           (pid == 0 ? "" : " (pid " + std::to_string(pid) + ")");
  };
  for (const WorkerInfo& worker : state.workers) {
    rows[worker.worker_id.value] = row_name(worker.worker_id, worker.pid);
  }
  std::unordered_map<std::uint64_t, const TaskInfo*> by_id;
  for (const TaskInfo& task : state.tasks) {
    by_id[task.task_id.value] = &task;
    rows.try_emplace(row(task.worker_id), row_name(task.worker_id, task.pid));
  }
  for (const auto& [tid, name] : rows) {
    file.event("{\"ph\":\"M\",\"pid\":1,\"tid\":" + std::to_string(tid) +
               ",\"name\":\"thread_name\",\"args\":{\"name\":" + json_string(name) + "}}");
  }
  std::uint64_t flow = 0;
  const auto arrow = [&](const char* kind, std::chrono::nanoseconds from, std::uint64_t from_row,
                         std::chrono::nanoseconds to, std::uint64_t to_row) {
    const std::string common = std::string(",\"pid\":1,\"cat\":\"") + kind + "\",\"name\":\"" +
                               kind + "\",\"id\":" + std::to_string(++flow);
    file.event("{\"ph\":\"s\"" + common + ",\"tid\":" + std::to_string(from_row) +
               ",\"ts\":" + micros(from) + "}");
    file.event("{\"ph\":\"f\",\"bp\":\"e\"" + common + ",\"tid\":" + std::to_string(to_row) +
               ",\"ts\":" + micros(to) + "}");
  };
  for (const TaskInfo& task : state.tasks) {
    if (task.started.count() < 0) continue;
    const auto ended = task.ended.count() < 0 ? task.started : task.ended;
    file.event("{\"ph\":\"X\",\"pid\":1,\"tid\":" + std::to_string(row(task.worker_id)) +
               ",\"cat\":\"task\",\"name\":" + json_string(printable(task.name)) +
               ",\"ts\":" + micros(task.started) + ",\"dur\":" + micros(ended - task.started) +
               ",\"args\":{\"task_id\":\"" + task.task_id.hex() + "\",\"parent_id\":\"" +
               task.parent_id.hex() + "\",\"state\":\"" + to_string(task.state) +
               "\",\"attempt\":" + std::to_string(task.attempt) +
               ",\"submitted_at\":" + json_string(task.file + ":" + std::to_string(task.line)) +
               ",\"queued_us\":" + micros(task.started - task.submitted) +
               (task.error.empty() ? "" : ",\"error\":" + json_string(task.error)) + "}}");
    if (task.submitted.count() >= 0) {
      arrow("submit", task.submitted, row(task.submitter_id), task.started, row(task.worker_id));
    }
    for (const TaskId from : task.args) {
      const auto found = by_id.find(from.value);
      if (found == by_id.end() || found->second->ended.count() < 0) continue;
      arrow("data", found->second->ended, row(found->second->worker_id), task.started,
            row(task.worker_id));
    }
  }
  file.finish();
}

std::string status_of(Engine& engine) {
  const State state = state_of(engine);
  std::string text = "======== ray status ========\n";
  const NodeInfo& node = state.nodes.front();
  text += "Node " + node.node_id.hex() + "\n";
  const bool processes = engine.parts().client != nullptr;
  std::size_t idle = 0;
  std::size_t spare = 0;
  for (const WorkerInfo& worker : state.workers) {
    idle += worker.idle ? 1 : 0;
    spare += worker.spare ? 1 : 0;
  }
  text += processes
              ? processes_text(state)
              : "Workers: " + std::to_string(state.workers.size()) + " (" + std::to_string(idle) +
                    " idle, " + std::to_string(spare) + " standing in for blocked ones)\n";
  text += "Resources:\n";
  for (const auto& [name, total] : node.resources) {
    const double used = total - node.available.at(name);
    if (name == "memory") continue;
    text += "  " + amount(used) + "/" + amount(total) + " " + printable(name) + "\n";
  }
  const auto megabytes = [](std::uint64_t bytes) {
    return amount(static_cast<double>(bytes) / 1e6);
  };
  if (processes) {
    text += "  " + megabytes(node.store_bytes) + "/" + megabytes(node.store_limit) +
            " MB in the object store, " + std::to_string(node.store_objects) + " objects; " +
            megabytes(node.spilled_bytes) + " MB on disk\n";
  } else {
    const BufferUse arrays = buffer_use();
    text += "  " + megabytes(arrays.in_use) + " MB in arrays, " + megabytes(arrays.kept) +
            " MB kept for the next\n";
  }
  text += "Demands (what waits for resources):\n" + demands_of(engine.parts());
  if (state.task_events) {
    std::map<std::string, std::map<TaskState, std::size_t>> by_name;
    std::map<TaskState, std::size_t> all;
    for (const TaskInfo& task : state.tasks) {
      ++by_name[task.name][task.state];
      ++all[task.state];
    }
    text += "Tasks (" + std::to_string(state.tasks.size());
    if (state.tasks_dropped != 0) {
      text += " of " + std::to_string(state.tasks_recorded) + "; max_task_events keeps no more";
    }
    text += "):\n";
    const auto line = [&](const std::string& name, const std::map<TaskState, std::size_t>& counts) {
      text += "  " + printable(name, 48) + ":";
      for (const auto& [task_state, count] : counts) {
        text += " " + std::to_string(count) + " " + to_string(task_state);
      }
      text += "\n";
    };
    constexpr std::size_t kNamesMax = 12;
    std::size_t shown = 0;
    for (const auto& [name, counts] : by_name) {
      if (shown++ == kNamesMax) break;
      line(name, counts);
    }
    if (by_name.size() > kNamesMax) {
      text += "  … and " + std::to_string(by_name.size() - kNamesMax) + " more names\n";
    }
    line("all", all);
  } else {
    text += "Tasks: not recorded (RuntimeOptions::task_events, RAY_TASK_EVENTS=1)\n";
  }
  text += "Actors: " + std::to_string(state.actors.size()) + "\n";
  constexpr std::size_t kActorsMax = 10;
  for (std::size_t i = 0; i < state.actors.size() && i < kActorsMax; ++i) {
    const ActorInfo& actor = state.actors[i];
    text += "  " + printable(actor.class_name) +
            (actor.name.empty() ? "" : " \"" + printable(actor.name) + "\"") + " " +
            to_string(actor.state) + ", " + std::to_string(actor.pending_calls) +
            " calls pending, " + std::to_string(actor.finished_calls) + " finished" +
            (actor.restarts == 0 ? "" : ", restarts: " + std::to_string(actor.restarts)) + "\n";
  }
  if (state.actors.size() > kActorsMax) {
    text += "  … and " + std::to_string(state.actors.size() - kActorsMax) + " more\n";
  }
  return text;
}

}  // namespace ray::detail
