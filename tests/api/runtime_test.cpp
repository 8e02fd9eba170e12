// The life of a runtime: init and shutdown, flags and environment, several at once.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace runtime_test {

namespace {

using probes::complaint;
using probes::eventually;

int add(int a, int b) { return a + b; }

/// Sets a variable of the environment, and takes it away again.
class Environment {
public:
  Environment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Environment() { unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

private:
  const char* name_;
};

/// argv as main() gets it.
class Arguments {
public:
  explicit Arguments(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
    count = static_cast<int>(words_.size());
  }
  char** values() { return pointers_.data(); }
  std::vector<std::string> left() const { return {pointers_.begin(), pointers_.begin() + count}; }
  int count;

private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

double total_cpus() {
  const auto total = ray::cluster_resources();
  const auto found = total.find("CPU");
  return found == total.end() ? -1 : found->second;
}

std::string complaint_about(std::vector<std::string> words) {
  Arguments arguments(std::move(words));
  const std::string text = complaint([&] { ray::init(arguments.count, arguments.values()); });
  ray::shutdown();
  return text;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What becomes of a process that calls this: its exit code (negative: the signal) and what it
/// printed on stderr.
struct End {
  int code = 0;
  std::string text;
};
template <class Call>
End end_of(Call call) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    for (const int signal : {SIGABRT, SIGALRM, SIGSEGV}) std::signal(signal, SIG_DFL);
    ::alarm(static_cast<unsigned>(probes::kDeadline.count()));
    ::dup2(ends[1], STDERR_FILENO);
    ::_exit(call());
  }
  ::close(ends[1]);
  End end;
  char buffer[256];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    end.text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  end.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return end;
}

std::optional<ray::Runtime> ending;

}  // namespace

TEST_CASE("init starts the runtime of the process and shutdown ends it") {
  CHECK_FALSE(ray::is_initialized());
  ray::Runtime& runtime = ray::init({.num_cpus = 2});
  CHECK(ray::is_initialized());
  CHECK(ray::get(ray::remote<add>(1, 2)) == 3);
  CHECK(runtime.get(runtime.remote<add>(2, 2)) == 4);
  CHECK(total_cpus() == 2);
  ray::shutdown();
  CHECK_FALSE(ray::is_initialized());
}

TEST_CASE("shutdown twice, and shutdown without init, do nothing") {
  ray::shutdown();
  ray::init({.num_cpus = 1});
  ray::shutdown();
  ray::shutdown();
  CHECK_FALSE(ray::is_initialized());
}

TEST_CASE("init twice without shutdown is an error, and the first runtime goes on") {
  ray::init({.num_cpus = 1});
  CHECK_THROWS_AS(ray::init({.num_cpus = 2}), ray::InvalidArgumentError);
  CHECK(ray::get(ray::remote<add>(1, 2)) == 3);
  ray::shutdown();
}

TEST_CASE("after shutdown a new init gives a working runtime") {
  for (int i = 0; i < 20; ++i) {
    ray::init({.num_cpus = 2});
    CHECK(ray::get(ray::remote<add>(i, 1)) == i + 1);
    ray::shutdown();
  }
}

TEST_CASE("the first use starts a default runtime") {
  CHECK(ray::get(ray::remote<add>(20, 3)) == 23);
  CHECK(ray::is_initialized());
  CHECK(total_cpus() >= 1);
  ray::shutdown();
}

TEST_CASE("put as the first use starts a default runtime") {
  CHECK(ray::get(ray::put(std::string("first"))) == "first");
  ray::shutdown();
}

TEST_CASE("flags of the runtime are taken out of argv and the others left") {
  Arguments arguments({"program", "--size", "3", "--ray-num-cpus=2", "file", "--ray-name", "mine",
                       "--", "--ray-not-ours"});
  ray::init(arguments.count, arguments.values());
  CHECK(total_cpus() == 2);
  const std::vector<std::string> left = arguments.left();
  REQUIRE(left.size() >= 4);
  CHECK(std::vector<std::string>(left.begin(), left.begin() + 4) ==
        std::vector<std::string>{"program", "--size", "3", "file"});
  CHECK(arguments.values()[arguments.count] == nullptr);
  ray::shutdown();
}

TEST_CASE("a flag goes before an option and an option before the environment") {
  const Environment environment("RAY_NUM_CPUS", "3");
  ray::init();
  CHECK(total_cpus() == 3);
  ray::shutdown();
  ray::init({.num_cpus = 2});
  CHECK(total_cpus() == 2);
  ray::shutdown();
  Arguments arguments({"program", "--ray-num-cpus", "4"});
  ray::init(arguments.count, arguments.values());
  CHECK(total_cpus() == 4);
  ray::shutdown();
}

TEST_CASE("resources come from a flag or the environment as a list") {
  Arguments arguments({"program", "--ray-resources=disk=1.5,camera=2"});
  ray::init(arguments.count, arguments.values());
  auto total = ray::cluster_resources();
  CHECK(total["disk"] == 1.5);
  CHECK(total["camera"] == 2);
  ray::shutdown();
  const Environment environment("RAY_RESOURCES", "tape=3");
  ray::init();
  CHECK(ray::cluster_resources()["tape"] == 3);
  ray::shutdown();
}

TEST_CASE("a bad flag is refused with a line that names it and its value") {
  CHECK(contains(complaint_about({"program", "--ray-num-cpus=many"}), "many"));
  CHECK(contains(complaint_about({"program", "--ray-num-cpus=many"}), "num-cpus"));
  CHECK(contains(complaint_about({"program", "--ray-no-such-flag=1"}), "--ray-no-such-flag"));
  CHECK(contains(complaint_about({"program", "--ray-num-cpus"}), "num-cpus"));
  CHECK(contains(complaint_about({"program", "--ray-num-cpus=-1"}), "-1"));
  CHECK(contains(complaint_about({"program", "--ray-num-cpus=nan"}), "nan"));
  CHECK(contains(complaint_about({"program", "--ray-resources=disk=1,tape=x"}), "[\"tape\"]=x"));
  CHECK(contains(complaint_about({"program", "--ray-num-cpus=1e400"}), "1e400"));
  CHECK(contains(complaint_about({"program", "--ray-object-store-bytes=64Gi b"}), "64Gi b"));
  CHECK(contains(complaint_about({"program", "--ray-isolation=moon"}), "moon"));
  CHECK(contains(complaint_about({"program", "--ray-resources=disk"}), "disk"));
  CHECK_FALSE(ray::is_initialized());
}

TEST_CASE("an empty variable of the environment is as good as none") {
  const Environment environment("RAY_NUM_CPUS", "");
  const ray::Runtime rt;
  CHECK(rt.options().num_cpus > 0);
}

TEST_CASE("a bad variable of the environment is refused by name and value") {
  const Environment environment("RAY_NUM_CPUS", "lots");
  const std::string text = complaint([] { ray::init(); });
  ray::shutdown();
  CHECK(contains(text, "RAY_NUM_CPUS"));
  CHECK(contains(text, "lots"));
}

TEST_CASE("bad options of a runtime are refused by name and value") {
  const auto refused = [](const ray::RuntimeOptions& options, const char* field) {
    return contains(complaint([&] { ray::Runtime runtime(options); }), field);
  };
  CHECK(refused({.num_cpus = -1}, "num_cpus"));
  CHECK(refused({.num_cpus = std::numeric_limits<double>::quiet_NaN()}, "num_cpus"));
  CHECK(refused({.num_cpus = 1, .num_gpus = -2}, "num_gpus"));
  CHECK(refused({.num_cpus = 1, .resources = {{"disk", -1}}}, "disk"));
  CHECK(refused({.num_cpus = 1, .resources = {{"", 1}}}, "resources"));
}

TEST_CASE("the limits of num_cpus are the same and in the same words wherever it comes from") {
  const auto words = [](auto call) -> std::string {
    try {
      call();
    } catch (const ray::InvalidArgumentError& error) {
      const std::string text = error.what();
      return text.substr(text.find(": ") + 2);
    }
    return "accepted";
  };
  const std::string slots =
      "must be a number from 1 to 1e6 (a plain task takes 1), or 0 for all hardware threads";
  const std::string processors = "must be a number from 0 to 1e6";
  for (const char* value : {"0.5", "-1", "1000001"}) {
    INFO(value);
    CHECK(words([&] { ray::Runtime rt({.num_cpus = std::atof(value)}); }) == slots);
    CHECK(words([&] {
            Arguments arguments({"program", "--ray-num-cpus", value});
            ray::init(arguments.count, arguments.values());
          }) == slots);
    const Environment environment("RAY_NUM_CPUS", value);
    CHECK(words([] { ray::init(); }) == slots);
  }
  struct Empty {};
  ray::Runtime rt({.num_cpus = 1});
  for (const double value : {-1.0, 1000001.0}) {
    CHECK(words([&] { ray::remote<add>.options({.num_cpus = value})(1, 2); }) == processors);
    CHECK(words([&] { ray::remote<add>.options({.num_gpus = value})(1, 2); }) == processors);
    CHECK(words([&] { ray::actor<Empty>.options({.num_cpus = value})(); }) == processors);
    CHECK(words([&] { ray::Runtime more({.num_gpus = value}); }) == processors);
  }
}

TEST_CASE("what this version does not do yet is refused at init and said so") {
  const auto says_not_yet = [](const ray::RuntimeOptions& options) {
    return contains(complaint([&] { ray::Runtime runtime(options); }), "not in this version yet");
  };
  CHECK(says_not_yet({.num_cpus = 1, .num_nodes = 3}));
  CHECK(says_not_yet({.num_cpus = 1, .address = "localhost:6379"}));
  CHECK(says_not_yet({.num_cpus = 1, .address = "auto"}));
}

TEST_CASE("a runtime lives as long as its object") {
  {
    ray::Runtime rt({.num_cpus = 2});
    CHECK(rt.get(rt.remote<add>(1, 2)) == 3);
  }
  CHECK_FALSE(ray::is_initialized());
}

TEST_CASE("several runtimes live in one process and keep to themselves") {
  ray::Runtime one({.num_cpus = 1, .name = "one"});
  ray::Runtime two({.num_cpus = 2, .name = "two"});
  ray::Runtime three({.num_cpus = 3, .name = "three"});
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 300; ++i) {
    ray::Runtime& rt = i % 3 == 0 ? one : i % 3 == 1 ? two : three;
    refs.push_back(rt.remote<add>(i, i));
  }
  for (int i = 0; i < 300; ++i) {
    ray::Runtime& rt = i % 3 == 0 ? one : i % 3 == 1 ? two : three;
    CHECK(rt.get(refs[static_cast<std::size_t>(i)]) == 2 * i);
  }
  CHECK(one.cluster_resources()["CPU"] == 1);
  CHECK(two.cluster_resources()["CPU"] == 2);
  CHECK(three.cluster_resources()["CPU"] == 3);
}

TEST_CASE("inside a task free functions act on the runtime that runs it") {
  constexpr auto cpus = [] { return ray::cluster_resources().at("CPU"); };
  ray::Runtime one({.num_cpus = 1});
  ray::Runtime three({.num_cpus = 3});
  CHECK(one.get(one.remote<cpus>()) == 1);
  CHECK(three.get(three.remote<cpus>()) == 3);
}

TEST_CASE("a runtime ends before, after, and between others") {
  std::optional<ray::Runtime> one(std::in_place, ray::RuntimeOptions{.num_cpus = 1});
  std::optional<ray::Runtime> two(std::in_place, ray::RuntimeOptions{.num_cpus = 1});
  one.reset();
  CHECK(two->get(two->remote<add>(1, 2)) == 3);
  one.emplace(ray::RuntimeOptions{.num_cpus = 1});
  two.reset();
  CHECK(one->get(one->remote<add>(1, 3)) == 4);
}

TEST_CASE("a value read before the end stays readable while its reference lives") {
  std::optional<ray::Runtime> rt(std::in_place, ray::RuntimeOptions{.num_cpus = 1});
  const ray::ObjectRef<std::string> ref = rt->put(std::string(1000, 'x'));
  const std::string& text = rt->get(ref);
  rt.reset();
  CHECK(text == std::string(1000, 'x'));
  CHECK(ref);
  const ray::ObjectRef<std::string> copy = ref;  // NOLINT(performance-unnecessary-copy-*)
  CHECK(copy == ref);
}

TEST_CASE("references of unfinished tasks outlive their runtime") {
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  std::vector<ray::ObjectRef<int>> refs;
  {
    ray::Runtime rt({.num_cpus = 1});
    refs.push_back(rt.remote<hold>());
    REQUIRE(gate.await_waiting(1));
    for (int i = 0; i < 10; ++i) refs.push_back(rt.remote<add>(refs.back(), 1));
    gate.open();
  }
  for (const auto& ref : refs) CHECK(ref);
  refs.clear();
}

TEST_CASE("using what was shut down is an error and not a hang") {
  ray::ObjectRef<int> ready, waiting;
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  {
    ray::Runtime rt({.num_cpus = 1});
    ready = rt.put(1);
    auto first = rt.remote<hold>();
    REQUIRE(gate.await_waiting(1));
    waiting = rt.remote<add>(first, 1);
    gate.open();
  }
  // Whether the last task still ran is left open; that get() comes back is not.
  const auto result = ray::try_get(waiting, std::chrono::seconds(5));
  if (result.has_value()) CHECK(*result == 2);
  ray::shutdown();
}

TEST_CASE("a runtime that was shut down says so, keeps its options, and gives way to others") {
  constexpr auto id = [] { return ray::context().task_id(); };
  struct Empty {};
  ray::Runtime rt({.num_cpus = 2, .name = "mine"});
  CHECK(rt.is_initialized());
  CHECK(rt.context().task_id() == ray::context().task_id());
  const auto there = rt.put(1);
  CHECK(rt.get(rt.remote<id>()) != ray::TaskId{});
  rt.shutdown();
  rt.shutdown();
  CHECK_FALSE(rt.is_initialized());
  CHECK(rt.options().name == "mine");
  CHECK(rt.get(there) == 1);
  CHECK_THROWS_AS(rt.put(1), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.remote<id>(), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.with<id>({}), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.actor<Empty>(), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.status(), ray::InvalidArgumentError);
  CHECK_FALSE(ray::is_initialized());

  ray::Runtime& own = ray::init({.num_cpus = 3});
  CHECK(total_cpus() == 3);
  own.shutdown();
  CHECK_FALSE(ray::is_initialized());
  ray::init({.num_cpus = 4});
  CHECK(total_cpus() == 4);
  ray::shutdown();
}

TEST_CASE("shutdown inside a task is refused, and the runtime goes on") {
  constexpr auto ends_process = [] { ray::shutdown(); };
  ray::init({.num_cpus = 1});
  CHECK_THROWS_AS(ray::get(ray::remote<ends_process>()), ray::InvalidArgumentError);
  CHECK(ray::get(ray::remote<add>(1, 2)) == 3);
  ray::shutdown();
}

// In threads only: no worker process has the driver's runtimes.
TEST_CASE("a runtime is not shut down inside its own task, and goes on", "[threads]") {
  constexpr auto ends_own = [] {
    ending->shutdown();
    return 0;
  };
  constexpr auto ends_process = [] {
    ray::shutdown();
    return 0;
  };
  constexpr auto nested = [] { return ending->get(ending->remote<ends_process>()); };
  ray::Runtime& own = ray::init({.num_cpus = 1});
  ending.emplace(ray::RuntimeOptions{.num_cpus = 1});
  CHECK_THROWS_AS(ending->get(ending->remote<ends_own>()), ray::InvalidArgumentError);
  CHECK_THROWS_AS(own.get(own.remote<ends_process>()), ray::InvalidArgumentError);
  CHECK_THROWS_AS(own.get(own.remote<nested>()), ray::InvalidArgumentError);
  CHECK(ending->get(ending->remote<add>(1, 2)) == 3);
  CHECK(own.get(own.remote<ends_own>()) == 0);  // The other runtime's task may.
  CHECK_FALSE(ending->is_initialized());
  ending.reset();
  ray::shutdown();
}

// In threads only: no worker process has the driver's runtime.
TEST_CASE("a runtime that is destroyed inside its own task ends the program with one line",
          "[threads]") {
  constexpr auto destroys = [] { ending.reset(); };
  const End end = end_of([&] {
    ending.emplace(ray::RuntimeOptions{.num_cpus = 1});
    ending->get(ending->with<destroys>({.name = "destroys"})());
    return 0;
  });
  INFO(end.text);
  CHECK(end.code == -SIGABRT);
  CHECK(contains(end.text, "ray: a runtime cannot end inside its own task 'destroys'"));
  CHECK(std::count(end.text.begin(), end.text.end(), '\n') == 1);
}

TEST_CASE("the child of a fork is told that it has no runtime, can end, and the parent goes on") {
  ray::Runtime& own = ray::init({.num_cpus = 1});
  ending.emplace(ray::RuntimeOptions{.num_cpus = 1});
  const auto refused = [](auto call) {
    try {
      call();
    } catch (const ray::InvalidArgumentError& error) {
      return contains(error.what(), "forked");
    }
    return false;
  };
  const auto there = own.put(7);
  const End end = end_of([&] {
    int refusals = 0;
    refusals += refused([] { ray::remote<add>(1, 2); });
    refusals += refused([] { static_cast<void>(ray::put(1)); });
    refusals += refused([&] { own.remote<add>(1, 2); });
    refusals += refused([] { ray::init(); });
    refusals += refused([] { ray::Runtime another({.num_cpus = 1}); });
    if (ray::is_initialized() || ray::get(there) != 7) return 100;
    ending.reset();
    ray::shutdown();
    return refusals;
  });
  CHECK(end.code == 5);
  CHECK(own.get(own.remote<add>(1, 2)) == 3);
  CHECK(ending->get(ending->remote<add>(1, 2)) == 3);
  ending.reset();
  ray::shutdown();
}

TEST_CASE("a process that is forked before init has a runtime of its own") {
  CHECK(end_of([] {
          ray::init({.num_cpus = 1});
          const int sum = ray::get(ray::remote<add>(1, 2));
          ray::shutdown();
          return sum;
        }).code == 3);
}

TEST_CASE("nodes and resources tell what there is and what is free") {
  ray::Runtime rt({.num_cpus = 2, .num_gpus = 1, .resources = {{"disk", 4}}});
  auto total = rt.cluster_resources();
  CHECK(total["CPU"] == 2);
  CHECK(total["GPU"] == 1);
  CHECK(total["disk"] == 4);
  CHECK(rt.available_resources() == total);
  CHECK(rt.nodes().size() == 1);
}

TEST_CASE("free resources fall while a task holds them and come back after it") {
  static probes::Gate gate;
  constexpr auto hold = [] { gate.pass(); };
  ray::init({.num_cpus = 2, .num_gpus = 1, .resources = {{"disk", 4}}});
  {
    const probes::OpenAtExit guard(gate);
    auto ref =
        ray::remote<hold>.options({.num_cpus = 1, .num_gpus = 0.5, .resources = {{"disk", 3}}})();
    REQUIRE(gate.await_waiting(1));
    auto free = ray::available_resources();
    CHECK(free["CPU"] == 1);
    CHECK(free["GPU"] == 0.5);
    CHECK(free["disk"] == 1);
    gate.open();
    ray::get(ref);
    CHECK(eventually([] { return ray::available_resources() == ray::cluster_resources(); }));
  }
  ray::shutdown();
}

TEST_CASE("the runtime prints nothing unless asked") {
  // The tests' own output goes through Catch; status() is text that is returned, not printed.
  ray::Runtime rt({.num_cpus = 1});
  CHECK_FALSE(rt.status().empty());
}

}  // namespace runtime_test
