// Actors at their limits: concurrency, groups, coroutines, restarts, retries, queues, resources.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace actor_limits_test {

namespace {

using probes::eventually;
using probes::kDeadline;

/// ray::init for one test.
struct Initialized {
  explicit Initialized(const ray::RuntimeOptions& options) { ray::init(options); }
  ~Initialized() { ray::shutdown(); }
  Initialized(const Initialized&) = delete;
  Initialized& operator=(const Initialized&) = delete;
};

/// Its calls wait for each other: `meet(n)` ends when n have been inside together.
class Party {
public:
  bool meet(int guests) {
    const probes::Meter::Inside inside(meter_);
    return eventually([&] { return meter_.most() >= guests; });
  }
  int most() const { return meter_.most(); }
  bool holds() {
    gate_.pass();
    return true;
  }
  void lets_go() { gate_.open(); }

private:
  probes::Meter meter_;
  probes::Gate gate_;
};

int same(int x) { return x; }

bool all(const std::vector<ray::ObjectRef<bool>>& refs) {
  for (bool one : ray::get(refs)) {
    if (!one) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("calls overlap up to max_concurrency even with one CPU") {
  const Initialized runtime({.num_cpus = 1});
  auto party = ray::actor<Party>.options({.max_concurrency = 4})();
  std::vector<ray::ObjectRef<bool>> refs;
  for (int i = 0; i < 20; ++i) refs.push_back(ray::remote<&Party::meet>(party, 4));
  CHECK(all(refs));
  CHECK(ray::get(ray::remote<&Party::most>(party)) == 4);
}

TEST_CASE("actors that are busy do not keep plain tasks from running") {
  const Initialized runtime({.num_cpus = 1});
  auto party = ray::actor<Party>.options({.max_concurrency = 2})();
  const auto held = ray::remote<&Party::holds>(party);
  CHECK(ray::get(ray::remote<same>(5), kDeadline) == 5);
  ray::remote<&Party::lets_go>(party);
  CHECK(ray::get(held, kDeadline));
}

TEST_CASE("concurrency groups have their own limits and do not block each other") {
  const Initialized runtime({.num_cpus = 1});
  auto party = ray::actor<Party>.options({.concurrency_groups = {{"io", 2}, {"compute", 1}}})();
  const auto io = ray::remote<&Party::holds>.options({.concurrency_group = "io"})(party);
  const auto more = ray::remote<&Party::holds>.options({.concurrency_group = "io"})(party);
  const auto third = ray::remote<&Party::holds>.options({.concurrency_group = "io"})(party);
  CHECK(ray::get(ray::remote<&Party::most>(party), kDeadline) == 0);
  ray::get(ray::remote<&Party::lets_go>.options({.concurrency_group = "compute"})(party),
           kDeadline);
  CHECK(ray::get(io, kDeadline));
  CHECK(ray::get(more, kDeadline));
  CHECK(ray::get(third, kDeadline));
}

TEST_CASE("a group lets in as many as it says") {
  const Initialized runtime({.num_cpus = 1});
  auto party = ray::actor<Party>.options({.concurrency_groups = {{"io", 3}}})();
  std::vector<ray::ObjectRef<bool>> refs;
  for (int i = 0; i < 12; ++i) {
    refs.push_back(ray::remote<&Party::meet>.options({.concurrency_group = "io"})(party, 3));
  }
  CHECK(all(refs));
  CHECK(ray::get(ray::remote<&Party::most>(party)) == 3);
}

TEST_CASE("an unknown concurrency group is refused by name") {
  const Initialized runtime({.num_cpus = 1});
  auto party = ray::actor<Party>.options({.concurrency_groups = {{"io", 1}}})();
  const std::string text = probes::complaint([&] {
    ray::get(ray::remote<&Party::most>.options({.concurrency_group = "oi"})(party), kDeadline);
  });
  CHECK(text.find("oi") != std::string::npos);
}

TEST_CASE("coroutine methods interleave where they wait") {
  struct Door {
    bool opened = false;
    ray::Task<int> waits_for(ray::ObjectRef<int> ref) { co_return co_await ref + 1; }
    ray::Task<void> open(int) {
      opened = true;
      co_return;
    }
    bool is_open() const { return opened; }
  };
  static probes::Gate gate;
  static constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  const Initialized runtime({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  auto door = ray::actor<Door>();
  const auto held = ray::remote<hold>();
  std::vector<ray::ObjectRef<int>> waiting;
  for (int i = 0; i < 100; ++i) waiting.push_back(ray::remote<&Door::waits_for>(door, held));
  ray::get(ray::remote<&Door::open>(door, 1), kDeadline);
  CHECK(ray::get(ray::remote<&Door::is_open>(door), kDeadline));
  CHECK_FALSE(waiting[0].is_ready());
  gate.open();
  for (int x : ray::get(waiting)) CHECK(x == 2);
}

TEST_CASE("coroutine methods run one at a time between their waits") {
  struct Careful {
    int inside = 0;
    int most = 0;
    ray::Task<void> call() {
      for (int i = 0; i < 10; ++i) {
        most = std::max(most, ++inside);
        --inside;
        co_await ray::remote<same>(i);
      }
    }
    int most_inside() const { return most; }
  };
  const Initialized runtime({.num_cpus = 4});
  auto careful = ray::actor<Careful>();
  std::vector<ray::ObjectRef<void>> refs;
  for (int i = 0; i < 200; ++i) refs.push_back(ray::remote<&Careful::call>(careful));
  ray::get(refs);
  CHECK(ray::get(ray::remote<&Careful::most_inside>(careful)) == 1);
}

TEST_CASE("a generator method streams from the actor's state") {
  struct Source {
    int next = 0;
    ray::Generator<int> some(int n) {
      for (int i = 0; i < n; ++i) co_yield next++;
    }
  };
  ray::Runtime rt({.num_cpus = 1});
  auto source = rt.actor<Source>();
  std::vector<int> seen;
  for (int round = 0; round < 2; ++round) {
    for (const auto& ref : rt.remote<&Source::some>(source, 5)) seen.push_back(rt.get(ref));
  }
  CHECK(seen == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("kill with no_restart false starts the actor again with its first arguments") {
  struct Fragile {
    int value;
    explicit Fragile(int start) : value(start) {}
    int add(int n) { return value += n; }
  };
  const Initialized runtime({.num_cpus = 1});
  auto fragile = ray::actor<Fragile>.options({.max_restarts = 2})(10);
  CHECK(ray::get(ray::remote<&Fragile::add>(fragile, 5)) == 15);
  for (int restart = 0; restart < 2; ++restart) {
    ray::kill(fragile, {.no_restart = false});
    CHECK(ray::get(ray::remote<&Fragile::add>(fragile, 1), kDeadline) == 11);
    CHECK(ray::get(ray::remote<&Fragile::add>(fragile, 1), kDeadline) == 12);
  }
  ray::kill(fragile, {.no_restart = false});
  CHECK_THROWS_AS(ray::get(ray::remote<&Fragile::add>(fragile, 1), kDeadline), ray::ActorDiedError);
}

TEST_CASE("a plain kill ends an actor for good whatever its restarts") {
  const Initialized runtime({.num_cpus = 1});
  auto party = ray::actor<Party>.options({.max_restarts = -1})();
  CHECK(ray::get(ray::remote<&Party::most>(party)) == 0);
  ray::kill(party);
  CHECK_THROWS_AS(ray::get(ray::remote<&Party::most>(party), kDeadline), ray::ActorDiedError);
}

TEST_CASE("calls with max_task_retries survive a restart, those without fail") {
  static probes::Shared<int> tries;
  static probes::Gate inside;
  struct Restarted {
    int first_hangs() {
      if (tries++ == 0) {
        inside.open();
        const auto token = ray::context().stop_token();
        eventually([&] { return token.stop_requested(); });
      }
      return tries;
    }
  };
  const Initialized runtime({.num_cpus = 2});
  auto actor = ray::actor<Restarted>.options({.max_restarts = 1, .max_task_retries = 1})();
  const auto call = ray::remote<&Restarted::first_hangs>(actor);
  inside.pass();
  ray::kill(actor, {.no_restart = false});
  CHECK(ray::get(call, kDeadline) == 2);
}

TEST_CASE("a constructor that fails is tried again within max_restarts") {
  static probes::Shared<int> made;
  struct Slippery {
    Slippery() {
      if (++made < 3) throw std::runtime_error("slipped");
    }
    int number() { return 5; }
  };
  const Initialized runtime({.num_cpus = 1});
  auto actor = ray::actor<Slippery>.options({.max_restarts = 3})();
  const auto result = ray::try_get(ray::remote<&Slippery::number>(actor), kDeadline);
  // Ray fails an actor whose constructor throws for good; a restart is for actors that ran.
  if (result.has_value()) {
    CHECK(*result == 5);
  } else {
    CHECK_THROWS_AS(result.value(), ray::ActorDiedError);
  }
}

TEST_CASE("more calls than max_pending_calls are refused and the others run") {
  static probes::Gate gate;
  struct Slow {
    int hold(int x) {
      gate.pass();
      return x;
    }
  };
  const Initialized runtime({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  auto slow = ray::actor<Slow>.options({.max_pending_calls = 5})();
  std::vector<ray::ObjectRef<int>> accepted;
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    try {
      accepted.push_back(ray::remote<&Slow::hold>(slow, i));
    } catch (const ray::PendingCallsLimitExceededError&) {
      ++refused;
    }
  }
  CHECK(refused >= 14);  // one may run already while five wait
  CHECK(accepted.size() >= 5);
  gate.open();
  int sum = 0;
  for (int x : ray::get(accepted)) sum += x;
  CHECK(sum >= 10);
  CHECK(ray::get(ray::remote<&Slow::hold>(slow, 7), kDeadline) == 7);
}

TEST_CASE("threads that race never exceed max_pending_calls, and none is wasted") {
  struct Slow {
    int hold(probes::Gate gate, int x) {
      gate.pass();
      return x;
    }
  };
  constexpr int kThreads = 8;
  constexpr std::size_t kLimit = 5;
  const Initialized runtime({.num_cpus = 2});
  for (int round = 0; round < probes::scaled(200); ++round) {
    const probes::Gate gate;
    auto slow = ray::actor<Slow>.options({.max_pending_calls = kLimit})();
    std::mutex mutex;
    std::vector<ray::ObjectRef<int>> accepted;
    int unknown_groups = 0;
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (++ready; ready < kThreads;) std::this_thread::yield();
        for (int i = 0; i < 4; ++i) {
          try {
            // What is refused for another reason is not counted.
            ray::remote<&Slow::hold>.options({.concurrency_group = "none"})(slow, gate, i);
          } catch (const ray::InvalidArgumentError&) {
            const std::lock_guard lock(mutex);
            ++unknown_groups;
          }
          try {
            auto ref = ray::remote<&Slow::hold>(slow, gate, i);
            const std::lock_guard lock(mutex);
            accepted.push_back(std::move(ref));
          } catch (const ray::PendingCallsLimitExceededError&) {
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(unknown_groups == kThreads * 4);
    CHECK(accepted.size() == kLimit);
    gate.open();
    ray::get(accepted);
    CHECK(eventually([] {
      const auto actors = ray::state().actors;
      return std::none_of(actors.begin(), actors.end(),
                          [](const auto& a) { return a.pending_calls != 0; });
    }));
  }
}

TEST_CASE("an actor holds its resources while it lives") {
  const Initialized runtime({.num_cpus = 2, .num_gpus = 1});
  auto party = ray::actor<Party>.options({.num_cpus = 1, .num_gpus = 1})();
  CHECK(ray::get(ray::remote<&Party::most>(party)) == 0);
  auto free = ray::available_resources();
  CHECK(free["CPU"] == 1);
  CHECK(free["GPU"] == 0);
  party = {};
  CHECK(eventually([] { return ray::available_resources() == ray::cluster_resources(); }));
}

TEST_CASE("an actor waits for the resources another one holds, and never gets impossible ones") {
  const Initialized runtime({.num_cpus = 1, .num_gpus = 1});
  auto first = ray::actor<Party>.options({.num_gpus = 1})();
  CHECK(ray::get(ray::remote<&Party::most>(first)) == 0);
  auto second = ray::actor<Party>.options({.num_gpus = 1})();
  const auto call = ray::remote<&Party::most>(second);
  CHECK(ray::get(ray::remote<same>(1)) == 1);
  CHECK_FALSE(call.is_ready());
  ray::kill(first);
  CHECK(ray::get(call, kDeadline) == 0);
  auto never = ray::actor<Party>.options({.num_gpus = 2})();
  CHECK_THROWS_AS(ray::get(ray::remote<&Party::most>(never), kDeadline), ray::Error);
}

TEST_CASE("a queued call of an actor is cancelled and the actor goes on") {
  ray::Runtime rt({.num_cpus = 2});
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 3;
  };
  const probes::OpenAtExit guard(gate);
  struct Echo {
    int echo(int x) { return x; }
  };
  auto echo = rt.actor<Echo>();
  const auto first = rt.remote<&Echo::echo>(echo, rt.remote<hold>());
  const auto second = rt.remote<&Echo::echo>(echo, 4);
  const auto third = rt.remote<&Echo::echo>(echo, 5);
  rt.cancel(second);
  CHECK_THROWS_AS(rt.get(second, kDeadline), ray::TaskCancelledError);
  gate.open();
  CHECK(rt.get(first, kDeadline) == 3);
  CHECK(rt.get(third, kDeadline) == 5);
}

TEST_CASE("a method that waits for tasks ends on one CPU") {
  struct Leader {
    int sum(int n) {
      std::vector<ray::ObjectRef<int>> refs;
      for (int i = 0; i < n; ++i) refs.push_back(ray::remote<same>(i));
      int total = 0;
      for (int x : ray::get(refs)) total += x;
      return total;
    }
  };
  ray::Runtime rt({.num_cpus = 1});
  auto leader = rt.actor<Leader>();
  CHECK(rt.get(rt.remote<&Leader::sum>(leader, 100), kDeadline) == 4950);
}

TEST_CASE("a task that waits for a method that waits for a task ends on any number of CPUs") {
  struct Relay {
    int ask(int x) {
      constexpr auto plus_one = [](int y) { return y + 1; };
      return ray::get(ray::remote<plus_one>(x));
    }
  };
  constexpr auto outer = [](ray::ActorHandle<Relay> relay, int x) {
    return ray::get(ray::remote<&Relay::ask>(relay, x));
  };
  for (const double cpus : {1.0, 2.0, 4.0}) {
    ray::Runtime rt({.num_cpus = cpus});
    auto relay = rt.actor<Relay>();
    for (int i = 0; i < 50; ++i) CHECK(rt.get(rt.remote<outer>(relay, i), kDeadline) == i + 1);
    // A worker gives its slot back a moment after its last task.
    CHECK(probes::eventually([&] { return rt.available_resources()["CPU"] == cpus; }));
  }
}

// In threads only: max_threads.
TEST_CASE("a driver that runs a method itself counts as one that may go on", "[threads]") {
  static probes::Gate held;
  struct Waiter {
    int ready() { return 1; }
    int asks(const std::vector<ray::ObjectRef<int>>& other) {
      const auto own = ray::remote<same>(1);
      return ray::get(other[0]) + ray::get(own);
    }
  };
  constexpr auto hold = [] {
    held.pass();
    // The only worker is busy while all others wait, for longer than the monitor needs to see it.
    eventually([] { return false; }, std::chrono::milliseconds(100));
    return 2;
  };
  const Initialized runtime({.num_cpus = 1, .max_threads = 1});
  auto waiter = ray::actor<Waiter>();
  CHECK(ray::get(ray::remote<&Waiter::ready>(waiter), kDeadline) == 1);
  const probes::OpenAtExit guard(held);
  const auto other = ray::remote<hold>.options({.num_cpus = 0})();
  REQUIRE(held.await_waiting(1));
  const auto sum = ray::remote<&Waiter::asks>(waiter, std::vector{other});
  held.open();
  CHECK(ray::get(sum) == 3);  // Without a deadline: only so it helps.
}

TEST_CASE("an actor whose argument fails later could not start, and says why") {
  struct Built {
    explicit Built(int) {}
    Built(int, int) {}
    int value() { return 1; }
  };
  static constexpr auto fails = [](probes::Gate gate) -> int {
    gate.pass();
    throw std::runtime_error("no number");
  };
  ray::Runtime rt({.num_cpus = 1});
  const probes::Gate gate;
  const auto number = rt.remote<fails>(gate);
  const auto one = rt.actor<Built>(number);
  const auto two = rt.actor<Built>(number, 2);
  const auto restarts = rt.actor_with<Built>({.max_restarts = 2})(number);
  const auto value = rt.remote<&Built::value>(one);
  gate.open();
  const std::string text = probes::complaint([&] { rt.get(value, kDeadline); });
  CHECK(text.find("could not start") != std::string::npos);
  CHECK(text.find("no number") != std::string::npos);
  CHECK_THROWS_AS(rt.get(rt.remote<&Built::value>(two), kDeadline), ray::ActorDiedError);
  CHECK_THROWS_AS(rt.get(rt.remote<&Built::value>(restarts), kDeadline), ray::ActorDiedError);
}

TEST_CASE("a call on an actor whose runtime has ended gives a reference that fails") {
  struct Plain {
    int value() { return 1; }
    std::tuple<int, int> both() { return {1, 2}; }
  };
  auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 1});
  const auto actor = rt->actor<Plain>();
  CHECK(ray::get(ray::remote<&Plain::value>(actor), kDeadline) == 1);
  rt.reset();
  const auto value = ray::remote<&Plain::value>(actor);
  CHECK_FALSE(ray::try_get(value, kDeadline).has_value());
  CHECK_THROWS_AS(ray::get(value), ray::ActorDiedError);
  CHECK_THROWS_AS(ray::get(std::get<1>(ray::remote<&Plain::both>(actor))), ray::ActorDiedError);
}

}  // namespace actor_limits_test
