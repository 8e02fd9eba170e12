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
#include <stdexcept>
#include <string>
#include <vector>

namespace state_test {

namespace {

using probes::complaint;
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

/// Whether a text is JSON (RFC 8259), UTF-8 included.
class JsonReader {
public:
  static bool accepts(const std::string& text) {
    JsonReader reader(text);
    return reader.value() && reader.space() == text.size();
  }

private:
  explicit JsonReader(const std::string& text) : text_(text) {}
  std::size_t space() {
    at_ = std::min(text_.find_first_not_of(" \n\r\t", at_), text_.size());
    return at_;
  }
  char peek() { return space() < text_.size() ? text_[at_] : '\0'; }
  bool take(const std::string& word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  bool list(char end, bool named) {
    ++at_;
    if (peek() == end) return ++at_ != 0;
    for (;;) {
      if (named && !(peek() == '"' && string() && peek() == ':' && ++at_ != 0)) return false;
      if (!value()) return false;
      const char c = peek();
      ++at_;
      if (c == end) return true;
      if (c != ',') return false;
    }
  }
  bool value() {
    switch (peek()) {
      case '{':
        return list('}', true);
      case '[':
        return list(']', false);
      case '"':
        return string();
      default:
        break;
    }
    if (take("true") || take("false") || take("null")) return true;
    const std::size_t from = at_;
    at_ = std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
    return at_ != from;
  }
  bool string() {
    for (++at_; at_ < text_.size();) {
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') return ++at_ != 0;
      if (c < 0x20) return false;
      if (c == '\\') {
        ++at_;
        if (take("u")) {
          if (text_.find_first_not_of("0123456789abcdefABCDEF", at_) < at_ + 4) return false;
          at_ += 4;
        } else if (std::string("\"\\/bfnrt").find(text_[at_++]) == std::string::npos) {
          return false;
        }
        continue;
      }
      const int more = c < 0x80   ? 0
                       : c < 0xc2 ? -1
                       : c < 0xe0 ? 1
                       : c < 0xf0 ? 2
                       : c < 0xf5 ? 3
                                  : -1;
      if (more < 0) return false;
      ++at_;
      for (int i = 0; i < more; ++i, ++at_) {
        if ((static_cast<unsigned char>(text_[at_]) & 0xc0) != 0x80) return false;
      }
    }
    return false;
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

std::string timeline_of(ray::Runtime& rt) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("timeline_" + std::to_string(getpid()))).string();
  rt.timeline(path);
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::remove(path.c_str());
  return text.str();
}

/// The whole of a text on one line, with nothing that a terminal would obey.
bool harmless(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
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
  for (int i = 0; i < 10; ++i) refs.push_back(rt.remote<add>(i, 1));
  rt.get(refs);
  CHECK(rt.state().tasks_dropped == 0);
  CHECK(rt.status().find("\nTasks (10):\n") != std::string::npos);
  for (int i = 10; i < 1000; ++i) refs.push_back(rt.remote<add>(i, 1));
  rt.get(refs);
  const auto state = rt.state();
  CHECK(state.tasks_dropped > 0);
  CHECK(rt.status().find(" of 1000; max_task_events keeps no more):\n") != std::string::npos);
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
  ray::Runtime rt({.num_cpus = 1, .task_events = true});
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 10; ++i) refs.push_back(rt.remote<add>(i, 1));
  rt.get(refs);
  REQUIRE(reaches(rt, "add", ray::TaskState::finished));
  const std::string json = timeline_of(rt);
  REQUIRE_FALSE(json.empty());
  CHECK((json.front() == '[' || json.front() == '{'));
  CHECK(json.find("add") != std::string::npos);
  CHECK(json.find("\"ph\"") != std::string::npos);
  CHECK(JsonReader::accepts(json));
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

TEST_CASE("the JSON reader of these tests refuses what is no JSON") {
  CHECK(JsonReader::accepts(R"({"a": [1, -2.5e3, "x\u001b\n", {}], "b": null})"));
  for (const char* bad :
       {"{", "[1,]", "{\"a\" 1}", "\"\n\"", "\"\\x\"", "\"\xff\"", "\"\xc3(\"", "1 2"}) {
    CHECK_FALSE(JsonReader::accepts(bad));
  }
}

TEST_CASE("names with control characters are escaped wherever they are printed") {
  constexpr auto throws = []() -> int { throw std::runtime_error("\x1b]0;x\x07 \xff\xc3( \"\\"); };
  const std::string name =
      "red \x1b[31m\r\n\t\"\\ \x7f \xc2\x9b \xff\xc3( \xed\xa0\x80 "
      "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
  ray::Runtime rt({.num_cpus = 1, .task_events = true});
  const auto bad = ray::remote<throws>.options({.name = name})();
  const auto result = rt.try_get(bad);
  REQUIRE_FALSE(result.has_value());
  const std::string text = result.error().what();
  const std::string shown = R"(red \x1b[31m\r\n\t"\ \x7f \u009b \xff\xc3( \xed\xa0\x80 )"
                            "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
  INFO(text);
  CHECK(text.find("task '" + shown + "' failed") == 0);
  const auto cancelled = ray::remote<add>.options({.name = name})(ray::remote<throws>(), 1);
  CHECK(std::string(rt.try_get(cancelled).error().what()).find(name) == std::string::npos);

  auto echo = ray::actor<Echo>.options({.name = name})();
  CHECK(rt.get(rt.remote<&Echo::echo>(echo, 1)) == 1);
  CHECK(ray::get_actor<Echo>(name) == echo);
  std::istringstream lines(rt.status());
  bool actor_shown = false;
  for (std::string line; std::getline(lines, line);) {
    CHECK(harmless(line));
    actor_shown = actor_shown || line.find("Echo \"" + shown + "\" ALIVE") != std::string::npos;
  }
  CHECK(actor_shown);
  const std::string taken = complaint([&] { ray::actor<Echo>.options({.name = name})(); });
  CHECK(taken.find("red") != std::string::npos);
  CHECK(harmless(taken));

  REQUIRE(reaches(rt, "red", ray::TaskState::failed));
  CHECK(find_task(rt, "red")->name == name);
  const std::string json = timeline_of(rt);
  CHECK(JsonReader::accepts(json));
  CHECK(json.find("red \\\\x1b") != std::string::npos);
}

TEST_CASE("a name of ten megabytes is cut for a task and refused for an actor") {
  static constexpr auto own_name = [] { return ray::context().task_name(); };
  const std::string huge = std::string(255, 'x') + "\xc3\xa4" + std::string(10 << 20, 'y');
  ray::Runtime rt({.num_cpus = 1, .task_events = true});
  // Not in the middle of a character.
  CHECK(rt.get(ray::remote<own_name>.options({.name = huge})()) == std::string(255, 'x'));
  constexpr auto throws = []() -> int { throw std::runtime_error("no"); };
  const auto result = rt.try_get(ray::remote<throws>.options({.name = huge})());
  REQUIRE_FALSE(result.has_value());
  CHECK(std::string(result.error().what()).size() < 1000);
  auto echo = rt.actor<Echo>();
  CHECK(rt.get(ray::remote<&Echo::echo>.options({.name = huge})(echo, 1)) == 1);
  CHECK(rt.status().size() < 5000);
  CHECK(timeline_of(rt).size() < 100'000);

  for (const std::string& text :
       {complaint([&] { ray::actor<Echo>.options({.name = huge})(); }), complaint([&] {
          ray::actor<Echo>.options({.concurrency_groups = {{huge, 1}}})();
        }),
        complaint([&] {
          ray::remote<own_name>.options({.resources = {{huge, 1}}})();
        })}) {
    CHECK(text.find("256") != std::string::npos);
    CHECK(text.size() < 1000);
  }
  const std::string unknown = complaint([&] { ray::get_actor<Echo>(huge); });
  CHECK(unknown.find("no actor of that name") != std::string::npos);
  CHECK(unknown.size() < 1000);
  const std::string longest(256, 'n');
  auto named = ray::actor<Echo>.options({.name = longest})();
  CHECK(ray::get_actor<Echo>(longest) == named);
}

TEST_CASE("status shows what waits for which resources") {
  static probes::Gate gate;
  constexpr auto hold = [](int x) {
    gate.pass();
    return x;
  };
  const auto shows = [](ray::Runtime& rt, const std::string& line) {
    return eventually([&] { return rt.status().find("\n  " + line + "\n") != std::string::npos; },
                      std::chrono::seconds(10));
  };
  ray::Runtime rt({.num_cpus = 2, .num_gpus = 2, .resources = {{"a \"disk\"", 20}}});
  const probes::OpenAtExit guard(gate);
  CHECK(shows(rt, "(none)"));
  const auto holder = ray::remote<hold>.options(
      {.num_cpus = 2, .num_gpus = 2, .resources = {{"a \"disk\"", 20}}})(0);
  REQUIRE(gate.await_waiting(1));
  CHECK(shows(rt, "(none)"));
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 3; ++i) {
    refs.push_back(ray::remote<add>.options({.num_gpus = 2})(i, 1));
  }
  refs.push_back(
      ray::remote<add>.options({.num_cpus = 0, .resources = {{"a \"disk\"", 0.5}}})(1, 1));
  auto echo = ray::actor<Echo>.options({.num_cpus = 1, .num_gpus = 2})();
  CHECK(shows(rt, "{\"CPU\": 1, \"GPU\": 2}: 3 pending tasks, 1 pending actor"));
  CHECK(shows(rt, "{\"a \\\"disk\\\"\": 0.5}: 1 pending task"));
  refs.push_back(ray::remote<add>(1, 1));
  CHECK(shows(rt, "{\"CPU\": 1}: about 1 pending plain task"));

  for (int i = 2; i <= 20; ++i) {
    refs.push_back(ray::remote<add>.options(
        {.num_cpus = 0, .resources = {{"a \"disk\"", static_cast<double>(i)}}})(1, 1));
  }
  CHECK(shows(rt, "… and 11 more shapes"));
  const std::string text = rt.status();
  CHECK(text.size() < 5000);
  ray::cancel(refs[0]);
  CHECK(shows(rt, "{\"CPU\": 1, \"GPU\": 2}: 2 pending tasks, 1 pending actor"));
  gate.open();
  for (std::size_t i = 1; i < refs.size(); ++i)
    CHECK(ray::try_get(refs[i], probes::kDeadline).has_value());
  ray::kill(echo);
  CHECK(shows(rt, "(none)"));
}

}  // namespace state_test
