// Tasks that wait for one another in a circle get a DeadlockError; those that only look like one
// do not.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/mailbox.hpp"
#include "api/probes.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace circles_test {

namespace {

using namespace std::chrono_literals;
using probes::eventually;
using probes::Gate;
using probes::kDeadline;
using probes::Mailbox;

/// Where a task finds a reference that is made after it.
struct Later {
  Gate ready;
  Mailbox<ray::ObjectRef<int>> ref;
  explicit Later(ray::Runtime& rt) : ref(rt) {}
  Later() = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(ready, ref);
  }
};

int open_later(const Later& later) {
  later.ready.pass();
  return 0;
}

/// By a reference of its own: the test may drop that one as soon as it has its answer.
int get_later(const Later& later) {
  later.ready.pass();
  const ray::ObjectRef<int> ref = later.ref.get();
  return ray::get(ref);
}

}  // namespace

TEST_CASE("a call of an actor to itself that it waits for is a deadlock and not a hang") {
  struct Selfish {
    ray::ActorHandle<Selfish> self;
    void know(ray::ActorHandle<Selfish> handle) { self = std::move(handle); }
    int number() { return 1; }
    int asks_itself() { return ray::get(ray::remote<&Selfish::number>(self)); }
    void forget() { self = {}; }
  };
  ray::Runtime rt({.num_cpus = 2});
  auto selfish = rt.actor<Selfish>();
  rt.get(rt.remote<&Selfish::know>(selfish, selfish));
  CHECK_THROWS_AS(rt.get(rt.remote<&Selfish::asks_itself>(selfish), kDeadline), ray::DeadlockError);
  CHECK(rt.get(rt.remote<&Selfish::number>(selfish)) == 1);
  rt.get(rt.remote<&Selfish::forget>(selfish));
}

TEST_CASE("two actors that wait for each other are a deadlock and not a hang") {
  struct Node {
    ray::ActorHandle<Node> other;
    void know(ray::ActorHandle<Node> handle) { other = std::move(handle); }
    void forget() { other = {}; }
    int ask(int left) {
      return left == 0 ? 0 : 1 + ray::get(ray::remote<&Node::ask>(other, left - 1));
    }
  };
  ray::Runtime rt({.num_cpus = 2});
  auto a = rt.actor<Node>();
  auto b = rt.actor<Node>();
  rt.get(rt.remote<&Node::know>(a, b));
  rt.get(rt.remote<&Node::know>(b, a));
  CHECK(rt.get(rt.remote<&Node::ask>(a, 1), kDeadline) == 1);
  CHECK_THROWS_AS(rt.get(rt.remote<&Node::ask>(a, 2), kDeadline), ray::DeadlockError);
  CHECK(rt.get(rt.remote<&Node::ask>(b, 1), kDeadline) == 1);
  rt.get(rt.remote<&Node::forget>(a));
  rt.get(rt.remote<&Node::forget>(b));
}

TEST_CASE("a coroutine that awaits its own actor's next call is a deadlock and not a hang") {
  struct Selfish {
    ray::ActorHandle<Selfish> self;
    void know(ray::ActorHandle<Selfish> handle) { self = std::move(handle); }
    int number() { return 1; }
    ray::Task<int> asks_itself() { co_return co_await ray::remote<&Selfish::number>(self) + 1; }
    void forget() { self = {}; }
  };
  ray::Runtime rt({.num_cpus = 1});
  auto alone = rt.actor_with<Selfish>({.max_concurrency = 1})();
  rt.get(rt.remote<&Selfish::know>(alone, alone));
  CHECK_THROWS_AS(rt.get(rt.remote<&Selfish::asks_itself>(alone), kDeadline), ray::DeadlockError);
  CHECK(rt.get(rt.remote<&Selfish::number>(alone), kDeadline) == 1);
  rt.get(rt.remote<&Selfish::forget>(alone));

  auto many = rt.actor<Selfish>();
  rt.get(rt.remote<&Selfish::know>(many, many));
  CHECK(rt.get(rt.remote<&Selfish::asks_itself>(many), kDeadline) == 2);
  rt.get(rt.remote<&Selfish::forget>(many));
}

TEST_CASE("of two coroutines that await each other one throws, and the other gets its failure") {
  constexpr auto awaits = [](const Later& other, int) -> ray::Task<int> {
    try {
      co_return co_await (co_await other.ref.look()).at(0) + 1;
    } catch (const ray::DeadlockError& e) {
      const std::string text = e.what();
      co_return text.find("waits for it in turn") != std::string::npos ? 100 : -1;
    }
  };
  ray::Runtime rt({.num_cpus = 2});
  const Later first(rt);
  const Later second(rt);
  const auto begin = rt.remote<open_later>(second);
  const auto a = rt.remote<awaits>(first, begin);
  const auto b = rt.remote<awaits>(second, begin);
  first.ref.put(b);
  second.ref.put(a);
  second.ready.open();
  const std::vector<int> both{rt.get(a, kDeadline), rt.get(b, kDeadline)};
  CHECK((both == std::vector{100, 101} || both == std::vector{101, 100}));
  first.ref.empty();
  second.ref.empty();
}

TEST_CASE("a circle that is closed by a call which comes into line is found") {
  struct Asked {
    int asks(const Later& later) { return get_later(later); }
    int late(int) { return 1; }
  };
  ray::Runtime rt({.num_cpus = 2});
  auto actor = rt.actor<Asked>();
  const Later later(rt);
  const Later argument(rt);
  argument.ref.put(rt.remote<open_later>(argument));
  REQUIRE(argument.ready.await_waiting(1));
  // `late` waits for its argument first, and so is not in line yet when `asks` waits for it.
  const auto asks = rt.remote<&Asked::asks>(actor, later);
  constexpr auto calls = [](ray::ActorHandle<Asked> of, const Later& when) {
    return ray::get(ray::remote<&Asked::late>(of, when.ref.get()));
  };
  later.ref.put(rt.remote<calls>(actor, argument));
  later.ready.open();
  const std::vector<ray::ObjectRef<int>> refs{asks};
  CHECK(rt.wait(refs, {.timeout = 50ms}).ready.empty());  // It waits by now, and in no circle.
  argument.ready.open();
  CHECK_THROWS_AS(rt.get(asks, kDeadline), ray::DeadlockError);
  CHECK_NOTHROW(rt.get(rt.remote<&Asked::late>(actor, 1), kDeadline));
  later.ref.empty();
  argument.ref.empty();
}

TEST_CASE("who waits for a call behind one that waits for him is in a circle that ends") {
  struct Asked {
    int asks(const Later& later) { return get_later(later); }
    int second() { return 2; }
  };
  constexpr auto waits = [](ray::ActorHandle<Asked> actor, const Later& later) {
    const auto first = ray::remote<&Asked::asks>(actor, later);
    const auto second = ray::remote<&Asked::second>(actor);
    int deadlocks = 0;
    for (const auto& ref : {second, first}) {
      try {
        ray::get(ref);
      } catch (const ray::DeadlockError&) {
        ++deadlocks;
      }
    }
    return deadlocks;
  };
  ray::Runtime rt({.num_cpus = 2});
  auto actor = rt.actor<Asked>();
  const Later later(rt);
  later.ref.put(rt.remote<waits>(actor, later));
  later.ready.open();
  CHECK(rt.get(later.ref.get(), kDeadline) >= 1);
  later.ref.empty();
}

TEST_CASE("a call behind one that waits for it and one that does not is no deadlock") {
  struct Two {
    ray::ActorHandle<Two> self;
    void know(ray::ActorHandle<Two> handle) { self = std::move(handle); }
    int number() { return 1; }
    int asks_itself() { return ray::get(ray::remote<&Two::number>(self)); }
    void passes(const Later& later) { later.ready.pass(); }
    void forget() { self = {}; }
  };
  ray::Runtime rt({.num_cpus = 2});
  auto two = rt.actor_with<Two>({.max_concurrency = 2})();
  rt.get(rt.remote<&Two::know>(two, two));
  const Later later(rt);
  const auto passes = rt.remote<&Two::passes>(two, later);
  REQUIRE(later.ready.await_waiting(1));
  const auto asks = rt.remote<&Two::asks_itself>(two);
  // It has begun, and what it asked for stands in line.
  REQUIRE(eventually([&] {
    const auto actors = rt.state().actors;
    return std::any_of(actors.begin(), actors.end(),
                       [](const auto& actor) { return actor.pending_calls == 3; });
  }));
  const std::vector<ray::ObjectRef<int>> refs{asks};
  CHECK(rt.wait(refs, {.timeout = 600ms}).ready.empty());  // Longer than from look to look.
  later.ready.open();
  CHECK(rt.get(asks, kDeadline) == 1);
  rt.get(rt.remote<&Two::forget>(two));

  // Where both ask, nobody is left.
  rt.get(rt.remote<&Two::know>(two, two));
  const auto one = rt.remote<&Two::asks_itself>(two);
  const auto other = rt.remote<&Two::asks_itself>(two);
  int deadlocks = 0;
  for (const auto& ref : {one, other}) {
    try {
      rt.get(ref, kDeadline);
    } catch (const ray::DeadlockError&) {
      ++deadlocks;
    }
  }
  CHECK(deadlocks <= 1);
  rt.get(rt.remote<&Two::forget>(two));
}

TEST_CASE("who waits for one of several, or for a time, is in no circle") {
  constexpr auto waits = [](const Later& later, int) {
    // It comes after the wait has begun: nobody else has a slot for it before.
    const std::vector<ray::ObjectRef<int>> refs{later.ref.get(), ray::remote<open_later>(later)};
    if (ray::wait(refs, {.num_returns = 1}).ready.size() != 1) return -1;
    try {
      ray::get(later.ref.get(), 50ms);
    } catch (const ray::GetTimeoutError&) {
      return 1;
    }
    return -2;
  };
  ray::Runtime rt({.num_cpus = 1});
  const Later later(rt);
  later.ref.put(rt.remote<waits>(later, rt.remote<open_later>(later)));
  later.ready.open();
  CHECK(rt.get(later.ref.get(), kDeadline) == 1);
  later.ref.empty();
}

TEST_CASE("a circle through an actor's constructor is a deadlock and not a hang") {
  struct Built {
    int given;
    explicit Built(int value) : given(value) {}
    int value() { return given; }
  };
  struct Asks {
    Asks() { ray::get(ray::remote<&Asks::value>(ray::get_actor<Asks>("asks"))); }
    int value() { return 1; }
  };
  static Gate ready;
  constexpr auto waits = [](const Mailbox<ray::ActorHandle<Built>>& later) {
    ready.pass();
    return ray::get(ray::remote<&Built::value>(later.get()));
  };
  ray::Runtime rt({.num_cpus = 2});
  const Mailbox<ray::ActorHandle<Built>> later(rt);
  const auto argument = rt.remote<waits>(later);
  const auto built = rt.actor<Built>(argument);
  later.put(built);
  ready.open();
  CHECK_THROWS_AS(rt.get(argument, kDeadline), ray::DeadlockError);
  CHECK_THROWS_AS(rt.get(rt.remote<&Built::value>(built), kDeadline), ray::ActorDiedError);
  later.empty();

  const auto asks = rt.actor_with<Asks>({.name = "asks"})();
  CHECK_THROWS_AS(rt.get(rt.remote<&Asks::value>(asks), kDeadline), ray::ActorDiedError);
}

TEST_CASE("a circle through a call that is held behind an earlier one ends") {
  struct Held {
    int first(int x) { return x; }
    int second() { return 2; }
  };
  constexpr auto asks = [](ray::ActorHandle<Held> actor, const Later& later, const Later& begin) {
    begin.ready.pass();
    const auto first = ray::remote<&Held::first>(actor, ray::remote<get_later>(later));
    return ray::get(ray::remote<&Held::second>(actor));
  };
  ray::Runtime rt({.num_cpus = 3});
  auto actor = rt.actor<Held>();
  const Later later(rt);
  const Later begin(rt);
  later.ref.put(rt.remote<asks>(actor, later, begin));
  begin.ready.open();
  REQUIRE(later.ready.await_waiting(1));
  const std::vector<ray::ObjectRef<int>> refs{later.ref.get()};
  CHECK(rt.wait(refs, {.timeout = 20ms}).ready.empty());
  later.ready.open();
  // Whoever of the two closes the circle throws; then the other goes on.
  const auto result = ray::try_get(later.ref.get(), kDeadline);
  if (result.has_value()) {
    CHECK(*result == 2);
  } else {
    CHECK_THROWS_AS(rt.get(later.ref.get()), ray::DeadlockError);
  }
  later.ref.empty();
}

TEST_CASE("a coroutine that stands in line to go on does not hide a deadlock") {
  struct Both {
    ray::ActorHandle<Both> self;
    void know(ray::ActorHandle<Both> handle) { self = std::move(handle); }
    ray::Task<int> awaits(const Later& later) { co_return co_await ray::remote<open_later>(later); }
    int number() { return 1; }
    int asks_itself(const Later& later, const Later& go) {
      later.ready.open();
      go.ready.pass();
      return ray::get(ray::remote<&Both::number>(self));
    }
    void forget() { self = {}; }
  };
  ray::Runtime rt({.num_cpus = 2, .task_events = true});
  auto both = rt.actor<Both>();
  rt.get(rt.remote<&Both::know>(both, both));
  const Later later(rt);
  const Later go(rt);
  const auto awaits = rt.remote<&Both::awaits>(both, later);
  REQUIRE(later.ready.await_waiting(1));
  const auto asks = rt.remote<&Both::asks_itself>(both, later, go);
  REQUIRE(go.ready.await_waiting(1));
  // What the coroutine waits for has ended, so it stands in line.
  REQUIRE(eventually([&] {
    int ended = 0;
    for (const auto& task : rt.state().tasks) ended += task.state == ray::TaskState::finished;
    return ended >= 2;
  }));
  go.ready.open();
  CHECK_THROWS_AS(rt.get(asks, kDeadline), ray::DeadlockError);
  CHECK(rt.get(awaits, kDeadline) == 0);
  rt.get(rt.remote<&Both::forget>(both));
}

}  // namespace circles_test
