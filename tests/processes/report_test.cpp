// What state(), status(), timeline() and the context say where workers are processes.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace reporting {

using probes::eventually;
using namespace std::chrono_literals;

ray::RuntimeOptions processes(double cpus) {
  return {.num_cpus = cpus, .isolation = ray::Isolation::processes, .task_events = true};
}

int pid() { return ::getpid(); }
int fails() { throw std::domain_error("as it should"); }
int plus(int a, int b) { return a + b; }

/// Runs until the file is there.
int until(std::string file) {
  const bool came = eventually([&] { return std::filesystem::exists(file); });
  return came ? ::getpid() : -1;
}

std::vector<std::uint64_t> where() {
  return {ray::context().worker_id().value, ray::context().node_id().value,
          static_cast<std::uint64_t>(::getpid())};
}

std::pair<double, double> free_cpus() {
  return {ray::cluster_resources().at("CPU"), ray::available_resources().at("CPU")};
}
int nested(int x) { return ray::get(ray::remote<plus>(x, 1)); }
std::string status_there() { return ray::status(); }

struct Hits {
  int hit() { return ::getpid(); }
  int until(std::string file) { return reporting::until(file); }
};

/// A file that does not exist yet, and goes with the test.
class Signal {
public:
  Signal() {
    std::string name = std::filesystem::temp_directory_path() / "ray_signal_XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = name;
  }
  ~Signal() {
    give();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  std::string file() const { return folder_ + "/go"; }
  void give() const { std::ofstream(file()) << "go\n"; }

private:
  std::string folder_;
};

const ray::TaskInfo* find(const ray::State& state, const std::string& name) {
  const ray::TaskInfo* found = nullptr;
  for (const ray::TaskInfo& task : state.tasks) {
    if (task.name == name) found = &task;
  }
  return found;
}

}  // namespace reporting

using namespace reporting;

TEST_CASE("state() shows worker processes, what they run, and what is free") {
  ray::Runtime rt(processes(2));
  const Signal signal;
  const auto running = rt.remote<until>(signal.file());
  REQUIRE(eventually([&] {
    const ray::State state = rt.state();
    const ray::TaskInfo* task = find(state, "reporting::until");
    return task != nullptr && task->state == ray::TaskState::running;
  }));
  const ray::State state = rt.state();
  const ray::TaskInfo& task = *find(state, "reporting::until");
  const auto worker = std::find_if(state.workers.begin(), state.workers.end(),
                                   [&](const auto& each) { return each.pid == task.pid; });
  REQUIRE(worker != state.workers.end());
  CHECK(worker->worker_id == task.worker_id);
  CHECK(worker->task_id == task.task_id);
  CHECK(worker->task_name == "reporting::until");
  CHECK_FALSE(worker->idle);
  CHECK(rt.available_resources().at("CPU") == 1);
  CHECK(rt.cluster_resources().at("CPU") == 2);
  const std::string status = rt.status();
  INFO(status);
  CHECK(status.find("Worker processes: ") != std::string::npos);
  CHECK(status.find("  pid " + std::to_string(task.pid) + ": runs reporting::until\n") !=
        std::string::npos);
  CHECK(status.find("  1/2 CPU\n") != std::string::npos);
  CHECK(status.find("MB in the object store") != std::string::npos);
  signal.give();
  CHECK(rt.get(running) == task.pid);
  CHECK(eventually([&] { return rt.available_resources().at("CPU") == 2; }));
}

TEST_CASE("tasks that ran elsewhere have their times, worker and end") {
  ray::Runtime rt(processes(2));
  const auto first = rt.remote<plus>(1, 2);
  const auto second = rt.with<plus>({.name = "second"})(first, 3);
  CHECK(rt.get(second) == 6);
  CHECK(rt.get(rt.remote<nested>(1)) == 2);
  CHECK(rt.try_get(rt.remote<fails>()).has_value() == false);
  const ray::State state = rt.state();
  CHECK(state.task_events);
  CHECK(state.tasks_recorded == 5);
  for (const ray::TaskInfo& task : state.tasks) {
    INFO(task.name);
    CHECK(task.state ==
          (task.name == "reporting::fails" ? ray::TaskState::failed : ray::TaskState::finished));
    CHECK(task.submitted.count() >= 0);
    CHECK(task.ready >= task.submitted);
    CHECK(task.started >= task.ready);
    CHECK(task.ended >= task.started);
    CHECK(task.pid > 0);
    CHECK(task.worker_id);
    CHECK(task.file.find("report_test.cpp") != std::string::npos);
    CHECK(task.line > 0);
  }
  CHECK(find(state, "reporting::fails")->error.find("as it should") != std::string::npos);
  CHECK(find(state, "second")->args == std::vector<ray::TaskId>{ray::TaskId{first.id().value}});
  const ray::TaskInfo& parent = *find(state, "reporting::nested");
  const auto child = std::find_if(state.tasks.begin(), state.tasks.end(), [&](const auto& task) {
    return task.parent_id == parent.task_id;
  });
  REQUIRE(child != state.tasks.end());
  CHECK(child->submitter_id == parent.worker_id);
}

TEST_CASE("actors in processes are shown with their process, calls and restarts") {
  ray::Runtime rt(processes(1));
  const Signal signal;
  const auto hits = rt.actor_with<Hits>({.name = "hits", .max_restarts = 1})();
  const int first = rt.get(rt.remote<&Hits::hit>(hits));
  const auto waits = rt.remote<&Hits::until>(hits, signal.file());
  const auto queued = rt.remote<&Hits::hit>(hits);
  REQUIRE(eventually([&] {
    const ray::State state = rt.state();
    return std::any_of(state.workers.begin(), state.workers.end(),
                       [](const auto& worker) { return worker.actor_id && worker.task_id; });
  }));
  ray::State state = rt.state();
  REQUIRE(state.actors.size() == 1);
  CHECK(state.actors[0].state == ray::ActorState::alive);
  CHECK(state.actors[0].name == "hits");
  CHECK(state.actors[0].class_name.find("Hits") != std::string::npos);
  CHECK(state.actors[0].pid == first);
  CHECK(state.actors[0].finished_calls == 1);
  CHECK(state.actors[0].pending_calls == 2);
  CHECK(state.actors[0].restarts == 0);
  CHECK(rt.status().find("pid " + std::to_string(first) + ": actor ") != std::string::npos);
  signal.give();
  rt.get(queued);
  rt.kill(hits, {.no_restart = false});
  REQUIRE(eventually([&] {
    state = rt.state();
    return state.actors.size() == 1 && state.actors[0].state == ray::ActorState::alive &&
           state.actors[0].restarts == 1;
  }));
  CHECK(state.actors[0].pid != first);
  CHECK(rt.status().find("restarts: 1") != std::string::npos);
}

TEST_CASE("each worker process has an id of its own, on the driver's node") {
  ray::Runtime rt(processes(3));
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  REQUIRE(eventually([&] {
    std::vector<ray::ObjectRef<std::vector<std::uint64_t>>> refs;
    for (int i = 0; i < 30; ++i) refs.push_back(rt.remote<where>());
    for (const auto& ref : refs) {
      const auto found = rt.get(ref);
      CHECK(found[1] == rt.context().node_id().value);
      seen.emplace(found[0], found[2]);
    }
    return seen.size() >= 2;
  }));
  std::set<std::uint64_t> ids;
  std::set<std::uint64_t> pids;
  for (const auto& [id, process] : seen) {
    ids.insert(id);
    pids.insert(process);
    CHECK(id != 0);
  }
  CHECK(ids.size() == seen.size());
  CHECK(pids.size() == seen.size());
  CHECK(rt.nodes().size() == 1);
  CHECK(rt.nodes()[0].node_id == rt.context().node_id());
}

TEST_CASE("a task asks the node what is free, and for the status") {
  ray::Runtime rt(processes(2));
  const auto [total, free] = rt.get(rt.remote<free_cpus>());
  CHECK(total == 2);
  CHECK(free == 1);  // It holds the other.
  const std::string status = rt.get(rt.remote<status_there>());
  INFO(status);
  CHECK(status.find("runs reporting::status_there") != std::string::npos);
  CHECK(status.find(rt.context().node_id().hex()) != std::string::npos);
}

TEST_CASE("what waits for resources of the node is in the status") {
  ray::Runtime rt(processes(1));
  const Signal signal;
  const auto running = rt.remote<until>(signal.file());
  const auto big = rt.with<pid>({.num_cpus = 0.5})();
  const auto other = rt.with<pid>({.num_cpus = 0.5})();
  CHECK(eventually(
      [&] { return rt.status().find("{\"CPU\": 0.5}: 2 pending tasks") != std::string::npos; }));
  signal.give();
  CHECK(rt.get(running) > 0);
  CHECK(rt.get(big) + rt.get(other) > 0);
  CHECK(rt.status().find("(none)") != std::string::npos);
}

TEST_CASE("the timeline has a row for each worker process") {
  ray::Runtime rt(processes(2));
  const int process = rt.get(rt.remote<pid>());
  const Signal signal;
  rt.timeline(signal.file());
  std::stringstream text;
  text << std::ifstream(signal.file()).rdbuf();
  INFO(text.str());
  CHECK(text.str().find(" (pid " + std::to_string(process) + ")\"") != std::string::npos);
  CHECK(text.str().find("\"cat\":\"task\",\"name\":\"reporting::pid\"") != std::string::npos);
}
