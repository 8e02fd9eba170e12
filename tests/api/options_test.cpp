// Options of tasks: what they hold while they run, and how often, how long and under which name.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace options_test {

namespace {

using namespace std::chrono_literals;
using probes::complaint;
using probes::eventually;
using probes::kDeadline;

/// ray::init for one test.
struct Initialized {
  explicit Initialized(const ray::RuntimeOptions& options) { ray::init(options); }
  ~Initialized() { ray::shutdown(); }
  Initialized(const Initialized&) = delete;
  Initialized& operator=(const Initialized&) = delete;
};

int same(int x) { return x; }

template <class Tag>
probes::Meter meter;
template <class Tag>
probes::Shared<int> entered;

/// Meets up to `want` others inside, or gives up after a moment, and notes how many there were.
template <class Tag>
bool meet(int want) {
  const probes::Meter::Inside inside(meter<Tag>);
  ++entered<Tag>;
  return eventually([&] { return meter<Tag>.most() >= want; }, 10s);
}

/// The most that ran together out of `count` tasks with these options.
template <class Tag>
int most_together(const ray::TaskOptions& options, int want, int count = 16) {
  std::vector<ray::ObjectRef<bool>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(ray::remote<meet<Tag>>.options(options)(want));
  for (bool met : ray::get(refs)) CHECK(met);
  return meter<Tag>.most();
}

bool back_to_full() {
  return eventually([] { return ray::available_resources() == ray::cluster_resources(); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string complaint_about(const ray::TaskOptions& options) {
  return complaint([&] { ray::get(ray::remote<same>.options(options)(1), kDeadline); });
}

}  // namespace

TEST_CASE("tasks of two CPUs each run half as many together") {
  const Initialized runtime({.num_cpus = 4});
  CHECK(most_together<struct Two>({.num_cpus = 2}, 2) == 2);
  CHECK(back_to_full());
}

TEST_CASE("tasks of half a CPU each run twice as many together") {
  const Initialized runtime({.num_cpus = 2});
  CHECK(most_together<struct Half>({.num_cpus = 0.5}, 4) == 4);
  CHECK(back_to_full());
}

TEST_CASE("tenths of a CPU add up exactly") {
  const Initialized runtime({.num_cpus = 1});
  CHECK(most_together<struct Tenth>({.num_cpus = 0.1}, 10, 40) == 10);
  CHECK(back_to_full());
}

TEST_CASE("a task of the whole machine runs alone") {
  const Initialized runtime({.num_cpus = 3});
  CHECK(most_together<struct All>({.num_cpus = 3}, 1) == 1);
  CHECK(back_to_full());
}

TEST_CASE("tasks of no CPU run however many others there are") {
  const Initialized runtime({.num_cpus = 1});
  CHECK(most_together<struct None>({.num_cpus = 0}, 8, 8) == 8);
}

TEST_CASE("GPUs are counted") {
  const Initialized runtime({.num_cpus = 8, .num_gpus = 2});
  CHECK(most_together<struct Gpu>({.num_cpus = 0, .num_gpus = 1}, 2) == 2);
  CHECK(most_together<struct HalfGpu>({.num_cpus = 0, .num_gpus = 0.5}, 4) == 4);
  CHECK(back_to_full());
}

TEST_CASE("custom resources are counted") {
  const Initialized runtime({.num_cpus = 8, .resources = {{"disk", 3}, {"tape", 1}}});
  CHECK(most_together<struct Disk>({.resources = {{"disk", 1}}}, 3) == 3);
  CHECK(most_together<struct Tape>({.resources = {{"disk", 1}, {"tape", 1}}}, 1) == 1);
  CHECK(back_to_full());
}

TEST_CASE("small and large tasks mixed never hold more than there is, and all end") {
  static probes::Shared<int> tenths, most;
  constexpr auto hold = [](int n) {
    most.raise(tenths += n);
    tenths -= n;
    return n;
  };
  const Initialized runtime({.num_cpus = 2});
  std::vector<ray::ObjectRef<int>> refs;
  const int sizes[] = {2, 5, 10, 20, 1};
  for (int i = 0; i < 500; ++i) {
    const int n = sizes[i % 5];
    refs.push_back(ray::remote<hold>.options({.num_cpus = n / 10.0})(n));
  }
  int sum = 0;
  for (int n : ray::get(refs)) sum += n;
  CHECK(sum == 3800);
  CHECK(most <= 20);
  CHECK(back_to_full());
}

TEST_CASE("a task that asks for more than the machine has is unschedulable, by name") {
  const Initialized runtime({.num_cpus = 2, .resources = {{"disk", 1}}});
  const auto refused = [](const ray::TaskOptions& options, const std::string& word) {
    auto ref = ray::remote<same>.options(options)(1);
    try {
      ray::get(ref, kDeadline);
    } catch (const ray::UnschedulableError& error) {
      return contains(error.what(), word);
    }
    return false;
  };
  CHECK(refused({.num_cpus = 3}, "3"));
  CHECK(refused({.num_gpus = 1}, "GPU"));
  CHECK(refused({.resources = {{"disk", 2}}}, "disk"));
  CHECK(refused({.resources = {{"unicorn", 1}}}, "unicorn"));
  CHECK(ray::get(ray::remote<same>(1)) == 1);
}

TEST_CASE("a dependent of an unschedulable task fails with it") {
  const Initialized runtime({.num_cpus = 1});
  auto bad = ray::remote<same>.options({.num_cpus = 8})(1);
  CHECK_THROWS_AS(ray::get(ray::remote<same>(bad), kDeadline), ray::UnschedulableError);
}

TEST_CASE("a waiting parent lends its resources to its children") {
  static constexpr auto child = [](int x) { return x; };
  constexpr auto parent = [](int x) {
    return ray::get(ray::remote<child>.options({.num_cpus = 2})(x));
  };
  const Initialized runtime({.num_cpus = 2});
  CHECK(ray::get(ray::remote<parent>.options({.num_cpus = 2})(5), kDeadline) == 5);
  CHECK(back_to_full());
}

TEST_CASE("a waiting parent keeps its custom resources, and its child waits for what is left") {
  constexpr auto parent = [](int x) {
    const auto child = ray::remote<same>.options({.resources = {{"disk", 1}}, .timeout = 20ms})(x);
    const bool shown = contains(ray::status(), "{\"CPU\": 1, \"disk\": 1}: 1 pending task");
    return shown && !ray::try_get(child).has_value();
  };
  const Initialized runtime({.num_cpus = 2, .resources = {{"disk", 2}}});
  const auto alone = ray::remote<parent>.options({.resources = {{"disk", 2}}})(5);
  CHECK(ray::get(alone, kDeadline));
}

TEST_CASE("a parent and its child share a resource of which there is enough") {
  constexpr auto parent = [](int x) {
    return ray::get(ray::remote<same>.options({.resources = {{"disk", 1}}})(x));
  };
  const Initialized runtime({.num_cpus = 1, .resources = {{"disk", 2}}});
  CHECK(ray::get(ray::remote<parent>.options({.resources = {{"disk", 1}}})(5), kDeadline) == 5);
}

TEST_CASE("the name of a task is seen inside it") {
  const Initialized runtime({.num_cpus = 1});
  constexpr auto own_name = [] { return std::string(ray::context().task_name()); };
  CHECK(ray::get(ray::remote<own_name>.options({.name = "a name"})()) == "a name");
}

TEST_CASE("a task that runs over its timeout fails with a timeout, and may see it by its token") {
  static probes::Gate stopped;
  constexpr auto runs_long = [] {
    const auto token = ray::context().stop_token();
    if (eventually([&] { return token.stop_requested(); })) stopped.open();
    return 1;
  };
  const Initialized runtime({.num_cpus = 1});
  CHECK(ray::get(ray::remote<same>(1)) == 1);  // From here on a task begins long before that.
  auto ref = ray::remote<runs_long>.options({.timeout = 500ms})();
  CHECK_THROWS_AS(ray::get(ref, kDeadline), ray::Error);
  stopped.pass();
  CHECK(ray::get(ray::remote<same>.options({.timeout = 60s})(3)) == 3);
}

TEST_CASE("bad options of a task are refused before it is submitted, by field and value") {
  const Initialized runtime({.num_cpus = 1});
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(contains(complaint_about({.num_cpus = -1}), "num_cpus"));
  CHECK(contains(complaint_about({.num_cpus = -1}), "-1"));
  CHECK(contains(complaint_about({.num_cpus = nan}), "num_cpus"));
  CHECK(
      contains(complaint_about({.num_cpus = std::numeric_limits<double>::infinity()}), "num_cpus"));
  CHECK(contains(complaint_about({.num_cpus = 9.3e18}), "num_cpus"));
  CHECK(contains(complaint_about({.num_gpus = -0.5}), "num_gpus"));
  CHECK(contains(complaint_about({.resources = {{"", 1}}}), "resources"));
  CHECK(contains(complaint_about({.resources = {{"disk", -2}}}), "disk"));
  CHECK(contains(complaint_about({.resources = {{"disk", nan}}}), "disk"));
  CHECK(contains(complaint_about({.max_retries = -2}), "max_retries"));
  CHECK(contains(complaint_about({.max_retries = -2}), "-2"));
  CHECK(contains(complaint_about({.timeout = -1s}), "timeout"));
  CHECK(complaint_about({.resources = {{std::string(10'000'000, 'x'), 1}}}).size() < 100'000);
}

TEST_CASE("bad options of an actor are refused by field and value") {
  struct Empty {};
  const Initialized runtime({.num_cpus = 1});
  const auto refused = [](const ray::ActorOptions& options, const char* field) {
    return contains(complaint([&] { ray::actor<Empty>.options(options)(); }), field);
  };
  CHECK(refused({.num_cpus = -1}, "num_cpus"));
  CHECK(refused({.max_restarts = -2}, "max_restarts"));
  CHECK(refused({.max_task_retries = -2}, "max_task_retries"));
  CHECK(refused({.max_concurrency = -1}, "max_concurrency"));
  CHECK(refused({.concurrency_groups = {{"io", 0}}}, "io"));
  CHECK(refused({.max_pending_calls = -2}, "max_pending_calls"));
}

TEST_CASE("an actor that reserves the only CPU lends it while its one method waits") {
  struct Asks {
    int child() { return ray::get(ray::remote<same>(3)); }
    int other(ray::ActorHandle<Asks> second) {
      return ray::get(ray::remote<&Asks::child>(second)) + 1;
    }
  };
  ray::Runtime rt({.num_cpus = 1});
  auto asks = rt.actor_with<Asks>({.num_cpus = 1})();
  CHECK(rt.get(rt.remote<&Asks::child>(asks), kDeadline) == 3);
  CHECK(rt.get(rt.remote<&Asks::other>(asks, rt.actor<Asks>()), kDeadline) == 4);
  CHECK(rt.available_resources().at("CPU") == 0);
}

TEST_CASE("a destructor that waits after its task's end has no CPUs to lend") {
  struct Waits {
    ray::ObjectRef<int> other;
    probes::Gate entered;
    ~Waits() {
      if (!other) return;
      entered.open();
      ray::get(other);
    }
    Waits(Waits&&) = default;
    Waits& operator=(Waits&&) = delete;
    Waits(ray::ObjectRef<int> ref, probes::Gate gate) : other(std::move(ref)), entered(gate) {}
  };
  constexpr auto passes = [](probes::Gate gate) {
    gate.pass();
    return 1;
  };
  struct Given {
    ray::ObjectRef<int> ref;
  };
  constexpr auto makes = [](Given other, probes::Gate begin, probes::Gate entered) {
    begin.pass();
    return Waits(other.ref, entered);
  };
  ray::Runtime rt({.num_cpus = 3});
  const probes::Gate held;
  const probes::Gate begin;
  const probes::Gate entered;
  const auto other = rt.remote<passes>(held);
  REQUIRE(held.await_waiting(1));
  // Nobody wants its result, so the task's end destroys it.
  static_cast<void>(rt.with<makes>({.num_cpus = 2})(Given{other}, begin, entered));
  REQUIRE(begin.await_waiting(1));
  CHECK(rt.available_resources().at("CPU") == 0);
  begin.open();
  REQUIRE(eventually([&] { return entered.is_open(); }));
  const std::vector<ray::ObjectRef<int>> refs{other};
  CHECK(rt.wait(refs, {.timeout = 20ms}).ready.empty());  // The destructor sleeps by now.
  CHECK(rt.available_resources().at("CPU") == 2);
  held.open();
  CHECK(eventually([&] { return rt.available_resources().at("CPU") == 3; }));
}

TEST_CASE("a killed actor's CPUs are free when its last call is over, and not twice before") {
  struct Waits {
    int waits(probes::Gate gate, std::vector<ray::ObjectRef<int>> refs) {
      gate.open();
      return ray::get(refs.front());
    }
  };
  constexpr auto passes = [](probes::Gate gate) {
    gate.pass();
    return 1;
  };
  ray::Runtime rt({.num_cpus = 2});
  auto actor = rt.actor_with<Waits>({.num_cpus = 2})();
  const probes::Gate held;
  const probes::Gate entered;
  const auto other = rt.with<passes>({.num_cpus = 0})(held);
  const auto call = rt.remote<&Waits::waits>(actor, entered, std::vector{other});
  REQUIRE(eventually([&] { return entered.is_open(); }));
  REQUIRE(eventually([&] { return rt.available_resources().at("CPU") == 2; }));  // It sleeps.
  rt.kill(actor);
  CHECK_THROWS_AS(rt.get(call, kDeadline), ray::ActorDiedError);
  CHECK(rt.available_resources().at("CPU") == 2);
  held.open();
  CHECK(rt.get(other, kDeadline) == 1);
  CHECK(eventually([&] { return rt.available_resources().at("CPU") == 2; }));
}

}  // namespace options_test
