// What a runtime tells about itself: context, state, timeline, status.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

using probes::eventually;

int add(int a, int b) { return a + b; }
int fails() { throw std::domain_error("as it should"); }

struct Echo {
  int echo(int x) { return x; }
  std::pair<ray::ActorId, ray::TaskId> ids() {
    return {ray::context().actor_id(), ray::context().task_id()};
  }
};

/// The newest record of a task whose name contains `name`.
std::optional<ray::TaskInfo> find_task(ray::Runtime& rt, const std::string& name) {
  std::optional<ray::TaskInfo> found;
  for (const ray::TaskInfo& task : rt.state().tasks) {
    if (task.name.find(name) != std::string::npos) found = task;
  }
  return found;
}

bool reaches(ray::Runtime& rt, const std::string& name, ray::TaskState state) {
  return eventually(
      [&] {
        const auto task = find_task(rt, name);
        return task.has_value() && task->state == state;
      },
      std::chrono::seconds(10));
}

}  // namespace

TEST_CASE("a task knows who and where it is") {
  struct Seen {
    ray::TaskId task;
    ray::NodeId node;
    ray::WorkerId worker;
    int attempt;
    bool stop;
  };
  constexpr auto look = [] {
    const auto context = ray::context();
    return Seen{context.task_id(), context.node_id(), context.worker_id(), context.attempt(),
                context.stop_token().stop_requested()};
  };
  ray::Runtime rt({.num_cpus = 2});
  std::set<ray::TaskId> tasks;
  for (int i = 0; i < 100; ++i) {
    const Seen seen = rt.get(rt.remote<look>());
    tasks.insert(seen.task);
    CHECK(seen.attempt == 0);
    CHECK_FALSE(seen.stop);
    CHECK(seen.node == rt.nodes().front().node_id);
  }
  CHECK(tasks.size() == 100);
}

TEST_CASE("a method knows its actor, a plain task has none") {
  constexpr auto actor_of_task = [] { return ray::context().actor_id(); };
  ray::Runtime rt({.num_cpus = 1});
  auto a = rt.actor<Echo>();
  auto b = rt.actor<Echo>();
  const auto [actor_a, task_a] = rt.get(rt.remote<&Echo::ids>(a));
  const auto [actor_b, task_b] = rt.get(rt.remote<&Echo::ids>(b));
  CHECK(actor_a != actor_b);
  CHECK(task_a != task_b);
  CHECK(rt.get(rt.remote<&Echo::ids>(a)).first == actor_a);
  CHECK(rt.get(rt.remote<actor_of_task>()) == ray::ActorId{});
}

TEST_CASE("state lists tasks with their fate when events are on") {
  ray::Runtime rt({.num_cpus = 1, .task_events = true});
  const auto sum = ray::remote<add>(1, 2);  // Free functions know where they are called.
  const auto next = ray::remote<add>(sum, 3);
  CHECK(rt.get(next) == 6);
  const auto bad = rt.remote<fails>();
  CHECK_FALSE(rt.try_get(bad).has_value());
  CHECK(reaches(rt, "add", ray::TaskState::finished));
  CHECK(reaches(rt, "fails", ray::TaskState::failed));
  const auto failed = find_task(rt, "fails");
  REQUIRE(failed.has_value());
  CHECK(failed->error.find("as it should") != std::string::npos);
  const auto finished = find_task(rt, "add");
  REQUIRE(finished.has_value());
  CHECK(finished->submitted <= finished->ready);
  CHECK(finished->ready <= finished->started);
  CHECK(finished->started <= finished->ended);
  CHECK(finished->attempt == 0);
  CHECK(std::string(finished->file).find("state_test") != std::string::npos);
  CHECK(finished->line > 0);
}

TEST_CASE("state tells what a task depends on and who started it") {
  static constexpr auto child = [](int x) { return x; };
  constexpr auto parent = [] { return ray::get(ray::remote<child>.options({.name = "child"})(1)); };
  ray::init({.num_cpus = 1, .task_events = true});
  {
    const auto sum = ray::remote<add>.options({.name = "first"})(1, 2);
    ray::get(ray::remote<add>.options({.name = "second"})(sum, 2));
    ray::get(ray::remote<parent>.options({.name = "parent"})());
    const auto named = [](const std::string& name) {
      for (const auto& task : ray::state().tasks) {
        if (task.name == name) return std::optional(task);
      }
      return std::optional<ray::TaskInfo>();
    };
    REQUIRE(eventually([&] { return named("second") && named("child") && named("parent"); }));
    const auto second = named("second");
    CHECK(std::count(second->args.begin(), second->args.end(), named("first")->task_id) == 1);
    CHECK(named("child")->parent_id == named("parent")->task_id);
  }
  ray::shutdown();
}

TEST_CASE("state shows tasks that wait and tasks that run") {
  static probes::Gate gate;
  constexpr auto hold = [](int x) {
    gate.pass();
    return x;
  };
  ray::init({.num_cpus = 1, .task_events = true});
  {
    const probes::OpenAtExit guard(gate);
    const auto running = ray::remote<hold>.options({.name = "runs"})(1);
    REQUIRE(gate.await_waiting(1));
    const auto waiting = ray::remote<add>.options({.name = "waits"})(running, 1);
    const auto queued = ray::remote<add>.options({.name = "queues"})(1, 1);
    const auto state_of = [](const std::string& name) {
      auto state = ray::TaskState::failed;
      for (const auto& task : ray::state().tasks) {
        if (task.name == name) state = task.state;
      }
      return state;
    };
    CHECK(eventually([&] { return state_of("runs") == ray::TaskState::running; }));
    CHECK(eventually([&] { return state_of("waits") == ray::TaskState::pending_args; }));
    CHECK(eventually([&] { return state_of("queues") == ray::TaskState::pending_node; }));
    ray::cancel(waiting);
    CHECK(eventually([&] { return state_of("waits") == ray::TaskState::cancelled; }));
    gate.open();
    CHECK(ray::get(queued) == 2);
  }
  ray::shutdown();
}

TEST_CASE("state keeps the newest events and counts those it dropped") {
  ray::Runtime rt({.num_cpus = 1, .task_events = true, .max_task_events = 100});
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 1000; ++i) refs.push_back(rt.remote<add>(i, 1));
  rt.get(refs);
  const auto state = rt.state();
  CHECK(state.tasks.size() <= 100);
  CHECK(state.tasks.size() >= 1);
  CHECK(state.tasks_recorded >= 1000);
}

TEST_CASE("state lists nodes, workers and actors") {
  ray::Runtime rt({.num_cpus = 2});
  auto echo = rt.actor<Echo>();
  rt.get(rt.remote<&Echo::echo>(echo, 1));
  const auto state = rt.state();
  CHECK(state.nodes.size() == 1);
  CHECK(state.actors.size() == 1);
  CHECK(state.workers.size() >= 1);
}

TEST_CASE("a timeline is a file of JSON that names the tasks") {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("timeline_" + std::to_string(getpid()))).string();
  {
    ray::Runtime rt({.num_cpus = 1, .task_events = true});
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < 10; ++i) refs.push_back(rt.remote<add>(i, 1));
    rt.get(refs);
    REQUIRE(reaches(rt, "add", ray::TaskState::finished));
    rt.timeline(path);
  }
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::remove(path.c_str());
  const std::string json = text.str();
  REQUIRE_FALSE(json.empty());
  CHECK((json.front() == '[' || json.front() == '{'));
  CHECK(json.find("add") != std::string::npos);
  CHECK(json.find("\"ph\"") != std::string::npos);
  CHECK(std::count(json.begin(), json.end(), '{') == std::count(json.begin(), json.end(), '}'));
}

TEST_CASE("a timeline that cannot be written is an error that names the file") {
  ray::Runtime rt({.num_cpus = 1, .task_events = true});
  try {
    rt.timeline("/no/such/folder/out.json");
    FAIL("was written");
  } catch (const ray::Error& error) {
    CHECK(std::string(error.what()).find("/no/such/folder/out.json") != std::string::npos);
  }
}

TEST_CASE("status is a text that names the resources") {
  ray::Runtime rt({.num_cpus = 2, .resources = {{"disk", 3}}, .name = "mine"});
  rt.get(rt.remote<add>(1, 2));
  const std::string text = rt.status();
  CHECK(text.find("CPU") != std::string::npos);
  CHECK(text.find("disk") != std::string::npos);
}

TEST_CASE("context outside of tasks has no task") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(ray::context().actor_id() == ray::ActorId{});
  CHECK(ray::context().attempt() == 0);
  CHECK_FALSE(ray::context().stop_token().stop_requested());
}
