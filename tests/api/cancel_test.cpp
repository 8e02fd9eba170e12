// cancel() in every state of a task: exactly one end, everybody who waits is released.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/mailbox.hpp"
#include "api/probes.hpp"

#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace cancel_test {

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using probes::eventually;
using probes::kDeadline;

int same(int x) { return x; }

struct Child;
struct Alone;
struct Forever;
struct Held;

template <class Tag>
probes::Gate gate;
template <class Tag>
int hold(int x) {
  gate<Tag>.pass();
  return x;
}

template <class Tag>
probes::Shared<int> ran;
template <class Tag>
int counted(int x) {
  ++ran<Tag>;
  return x;
}

/// Runs until its stop token tells it to end.
template <class Tag>
probes::Gate started;
template <class Tag>
int runs_until_stopped() {
  const auto token = ray::context().stop_token();
  started<Tag>.open();
  eventually([&] { return token.stop_requested(); });
  if (token.stop_requested()) ++ran<Tag>;
  return 1;
}

bool back_to_full(ray::Runtime& rt) {
  return eventually([&] { return rt.available_resources() == rt.cluster_resources(); });
}

}  // namespace

TEST_CASE("a task that waits for its arguments is cancelled and never runs") {
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<struct Args>);
  const auto held = rt.remote<hold<struct Args>>(1);
  const auto waiting = rt.remote<counted<struct Args>>(held);
  rt.cancel(waiting);
  CHECK_THROWS_AS(rt.get(waiting, kDeadline), ray::TaskCancelledError);
  gate<struct Args>.open();
  CHECK(rt.get(held) == 1);
  CHECK(rt.get(rt.remote<same>(2)) == 2);
  CHECK(ran<struct Args> == 0);
}

TEST_CASE("a queued task is cancelled and never runs") {
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<struct Queued>);
  const auto held = rt.remote<hold<struct Queued>>(1);
  REQUIRE(gate<struct Queued>.await_waiting(1));
  const auto queued = rt.remote<counted<struct Queued>>(2);
  rt.cancel(queued);
  CHECK_THROWS_AS(rt.get(queued, kDeadline), ray::TaskCancelledError);
  gate<struct Queued>.open();
  CHECK(rt.get(held) == 1);
  CHECK(rt.get(rt.remote<same>(2)) == 2);
  CHECK(ran<struct Queued> == 0);
}

TEST_CASE("a running task is told by its stop token, and those who wait are released") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.remote<runs_until_stopped<struct Running>>();
  started<struct Running>.pass();
  rt.cancel(ref);
  CHECK_THROWS_AS(rt.get(ref, kDeadline), ray::TaskCancelledError);
  CHECK(eventually([] { return ran<struct Running> == 1; }));
  CHECK(rt.get(rt.remote<same>(3)) == 3);
  CHECK(back_to_full(rt));
}

TEST_CASE("a finished task keeps its value when cancelled") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.remote<same>(4);
  CHECK(rt.get(ref) == 4);
  rt.cancel(ref);
  CHECK(rt.get(ref) == 4);
  const auto object = rt.put(5);
  rt.cancel(object);
  CHECK(rt.get(object) == 5);
}

TEST_CASE("a failed task keeps its error when cancelled") {
  constexpr auto fails = []() -> int { throw std::domain_error("own"); };
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.remote<fails>();
  CHECK_THROWS_AS(rt.get(ref), std::domain_error);
  rt.cancel(ref);
  CHECK_THROWS_AS(rt.get(ref), std::domain_error);
}

TEST_CASE("cancelling twice, and with force, is the same as once") {
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<struct Twice>);
  const auto held = rt.remote<hold<struct Twice>>(1);
  const auto queued = rt.remote<same>(held);
  rt.cancel(queued);
  rt.cancel(queued);
  rt.cancel(queued, {.force = true});
  CHECK_THROWS_AS(rt.get(queued, kDeadline), ray::TaskCancelledError);
  rt.cancel(queued);
  CHECK_THROWS_AS(rt.get(queued, kDeadline), ray::TaskCancelledError);
}

TEST_CASE("dependents of a cancelled task fail as cancelled, along the whole chain") {
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<struct Chain>);
  const auto held = rt.remote<hold<struct Chain>>(1);
  auto first = rt.remote<same>(held);
  auto ref = first;
  for (int i = 0; i < probes::scaled(10'000); ++i) ref = rt.remote<counted<struct Chain>>(ref);
  rt.cancel(first);
  CHECK_THROWS_AS(rt.get(ref, kDeadline), ray::TaskCancelledError);
  CHECK(ran<struct Chain> == 0);
}

TEST_CASE("one of several dependencies cancelled is enough") {
  constexpr auto add = [](int a, int b) { return a + b; };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<struct One>);
  const auto held = rt.remote<hold<struct One>>(1);
  const auto doomed = rt.remote<same>(held);
  const auto sum = rt.remote<add>(held, doomed);
  rt.cancel(doomed);
  CHECK_THROWS_AS(rt.get(sum, kDeadline), ray::TaskCancelledError);
}

TEST_CASE("a cancelled parent takes its children with it") {
  static probes::Gate child_exists;
  constexpr auto parent = [] {
    auto child = ray::remote<runs_until_stopped<struct Child>>();
    child_exists.open();
    return ray::get(child);
  };
  ray::Runtime rt({.num_cpus = 2});
  const auto ref = rt.remote<parent>();
  child_exists.pass();
  started<struct Child>.pass();
  rt.cancel(ref);
  CHECK_THROWS_AS(rt.get(ref, kDeadline), ray::TaskCancelledError);
  CHECK(eventually([] { return ran<struct Child> == 1; }));
  CHECK(back_to_full(rt));
}

TEST_CASE("recursive false leaves the children alone") {
  using Box = probes::Mailbox<ray::ObjectRef<int>>;
  static probes::Gate child_exists, parent_may_go;
  constexpr auto parent = [](const Box& box) {
    box.put(ray::remote<hold<struct Alone>>(6));
    child_exists.open();
    parent_may_go.pass();
    return 1;
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate<struct Alone>);
  const Box box(rt);
  const auto ref = rt.remote<parent>(box);
  child_exists.pass();
  rt.cancel(ref, {.recursive = false});
  parent_may_go.open();
  CHECK_THROWS_AS(rt.get(ref, kDeadline), ray::TaskCancelledError);
  gate<struct Alone>.open();
  CHECK(rt.get(box.get(), kDeadline) == 6);
}

TEST_CASE("a task that waits in get is released by cancel") {
  static probes::Gate waits;
  constexpr auto parent = [](ray::ObjectRef<int> other) {
    waits.open();
    return ray::get(other);
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate<struct Get>);
  const auto held = rt.remote<hold<struct Get>>(1);
  const auto ref = rt.remote<parent>(held);
  waits.pass();
  rt.cancel(ref);
  CHECK_THROWS_AS(rt.get(ref, kDeadline), ray::TaskCancelledError);
  gate<struct Get>.open();
  CHECK(rt.get(held) == 1);
}

TEST_CASE("cancelling during retries ends them") {
  static probes::Shared<int> tries;
  constexpr auto fails = []() -> int {
    ++tries;
    throw std::runtime_error("again");
  };
  ray::init({.num_cpus = 1});
  const auto ref = ray::remote<fails>.options({.max_retries = -1, .retry_exceptions = true})();
  REQUIRE(eventually([] { return tries > 10; }));
  ray::cancel(ref);
  CHECK_THROWS_AS(ray::get(ref, kDeadline), ray::TaskCancelledError);
  CHECK(eventually([] { return ray::available_resources() == ray::cluster_resources(); }));
  const int then = tries;
  CHECK(ray::get(ray::remote<same>(1)) == 1);
  CHECK(tries <= then + 1);
  ray::shutdown();
}

TEST_CASE("cancel of one element of a tuple cancels the task") {
  constexpr auto two = [](int x) { return std::tuple(x, x); };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<struct Tuple>);
  const auto held = rt.remote<hold<struct Tuple>>(1);
  auto [a, b] = rt.remote<two>(held);
  rt.cancel(a);
  CHECK_THROWS_AS(rt.get(a, kDeadline), ray::TaskCancelledError);
  CHECK_THROWS_AS(rt.get(b, kDeadline), ray::TaskCancelledError);
}

TEST_CASE("many threads wait for a task that is cancelled and all are released") {
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<struct Many>);
  const auto held = rt.remote<hold<struct Many>>(1);
  const auto queued = rt.remote<same>(held);
  std::atomic<int> released{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      try {
        rt.get(queued, kDeadline);
      } catch (const ray::TaskCancelledError&) {
        ++released;
      }
    });
  }
  rt.cancel(queued);
  for (std::thread& thread : threads) thread.join();
  CHECK(released == 8);
}

TEST_CASE(
    "a thread that sleeps in get is woken by the cancel that another thread sends and leaves") {
  struct Apart;
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<Apart>);
  const auto held = rt.remote<hold<Apart>>(1);
  const auto middle = rt.remote<same>(held);
  const auto end = rt.remote<same>(middle);
  REQUIRE(gate<Apart>.await_waiting(1));
  std::atomic<bool> released{false};
  std::thread waits([&] {
    CHECK_THROWS_AS(rt.get(end), ray::TaskCancelledError);
    released = true;
  });
  std::this_thread::sleep_for(300ms);  // It and all else of the runtime has fallen asleep.
  CHECK(!released);
  rt.cancel(middle, {.recursive = false});
  CHECK(eventually([&] { return released.load(); }, 5s));
  gate<Apart>.open();
  waits.join();
}

TEST_CASE("a cancelled task frees the resources it would have held") {
  ray::init({.num_cpus = 1, .resources = {{"disk", 1}}});
  {
    const probes::OpenAtExit guard(gate<struct Disk>);
    const auto holder = ray::remote<hold<struct Disk>>.options({.resources = {{"disk", 1}}})(1);
    REQUIRE(gate<struct Disk>.await_waiting(1));
    const auto second = ray::remote<same>.options({.resources = {{"disk", 1}}})(2);
    ray::cancel(second);
    CHECK_THROWS_AS(ray::get(second, kDeadline), ray::TaskCancelledError);
    gate<struct Disk>.open();
    CHECK(ray::get(holder) == 1);
    CHECK(ray::get(ray::remote<same>.options({.resources = {{"disk", 1}}})(3), kDeadline) == 3);
    CHECK(eventually([] { return ray::available_resources() == ray::cluster_resources(); }));
  }
  ray::shutdown();
}

TEST_CASE("cancelling a task that waits for CPUs lets those behind it start") {
  ray::init({.num_cpus = 2});
  {
    const probes::OpenAtExit guard(gate<struct Behind>);
    const auto held = ray::remote<hold<struct Behind>>(1);
    REQUIRE(gate<struct Behind>.await_waiting(1));
    const auto big = ray::remote<same>.options({.num_cpus = 2})(2);
    const std::vector behind{ray::remote<counted<struct Behind>>(3),
                             ray::remote<counted<struct Behind>>(4)};
    // Long enough for the second worker to fall asleep.
    CHECK_FALSE(eventually([] { return ran<struct Behind> > 0; }, 30ms));
    ray::cancel(big);
    // Not by get(), which would run them here.
    CHECK(eventually([] { return ran<struct Behind> == 2; }, 10s));
    gate<struct Behind>.open();
    CHECK(ray::get(held) == 1);
  }
  ray::shutdown();
}

namespace {

std::string text_of(const ray::ObjectRef<int>& ref) {
  const auto result = ray::try_get(ref, kDeadline);
  return result.has_value() ? "a value" : result.error().what();
}

}  // namespace

TEST_CASE("the error of a cancelled task says what cancelled it") {
  using Box = probes::Mailbox<ray::ObjectRef<int>>;
  static probes::Gate inside, parted;
  constexpr auto parent = [](const Box& box) {
    box.put(ray::remote<same>(ray::remote<hold<Held>>(1)));
    inside.open();
    const auto token = ray::context().stop_token();
    eventually([&] { return token.stop_requested(); });
    parted.pass();
    return 0;
  };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(parted), other_guard(gate<Held>);
  const Box box(rt);
  const auto running = rt.remote<parent>(box);
  inside.pass();
  const auto child = box.get();
  rt.cancel(running);
  CHECK_THAT(text_of(running), ContainsSubstring("was cancelled by ray::cancel"));
  parted.open();
  gate<Held>.open();
  CHECK_THAT(text_of(child), ContainsSubstring("together with the task that had started it"));
}

// In threads only: it waits for a task of another runtime.
TEST_CASE("the error of a task that its runtime did not end says so", "[threads]") {
  static probes::Gate waits;
  ray::Runtime other({.num_cpus = 1});
  const probes::OpenAtExit opened(gate<Forever>);
  const auto never = other.remote<hold<Forever>>(1);
  ray::ObjectRef<int> late;
  {
    ray::Runtime rt({.num_cpus = 1});
    constexpr auto awaits = [](ray::ObjectRef<int> ref) -> ray::Task<int> {
      waits.open();
      co_return co_await ref;
    };
    late = rt.remote<awaits>(never);
    waits.pass();
  }
  CHECK_THAT(text_of(late), ContainsSubstring("its runtime was shut down"));
}

namespace {

/// An element of a tuple or a stream that does something when it is moved or destroyed.
template <class Tag>
struct Meddler {
  inline static probes::Shared<bool> armed;
  inline static std::function<void()> when_moved;
  inline static std::function<void()> when_destroyed;

  int number = 0;

  explicit Meddler(int n) : number(n) {}
  Meddler(Meddler&& other) : number(other.number) {
    if (armed && when_moved) when_moved();
  }
  ~Meddler() {
    if (armed && when_destroyed) when_destroyed();
  }

  /// A task's result whose elements act from now on.
  static std::tuple<Meddler, int> pair() {
    std::tuple<Meddler, int> result(Meddler(1), 2);
    armed = true;
    return result;
  }
};

}  // namespace

// In threads only: the moves are those of one process.
TEST_CASE("an element of a tuple that cancels its own task when moved does no harm", "[threads]") {
  using Own = Meddler<struct OwnTag>;
  static ray::ObjectRef<int> second;
  static probes::Shared<int> cancels;
  constexpr auto both = [] {
    gate<OwnTag>.pass();
    return Own::pair();
  };
  Own::when_moved = [] {
    ray::cancel(second);
    ++cancels;
  };
  {
    ray::Runtime rt({.num_cpus = 1});
    const probes::OpenAtExit guard(gate<OwnTag>);
    auto refs = rt.remote<both>();
    second = std::get<1>(refs);
    gate<OwnTag>.open();
    // The task had returned: its results are there.
    CHECK(rt.get(std::get<0>(refs), kDeadline).number == 1);
    CHECK(rt.get(second, kDeadline) == 2);
    CHECK(cancels >= 1);
    Own::armed = false;
    second = {};
  }
}

// In threads only: the moves are those of one process.
TEST_CASE("a cancel does not wait for an element of a tuple that is slow to move", "[threads]") {
  using Slow = Meddler<struct SlowTag>;
  static probes::Gate moving;
  constexpr auto both = [] { return Slow::pair(); };
  Slow::when_moved = [] { moving.pass(); };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(moving);
  auto refs = rt.remote<both>();
  REQUIRE(moving.await_waiting(1));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { ray::cancel(std::get<1>(refs)); });
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(moving.is_open());
  moving.open();
  CHECK(rt.get(std::get<0>(refs), kDeadline).number == 1);
  CHECK(rt.get(std::get<1>(refs), kDeadline) == 2);
  Slow::armed = false;
}

// In threads only: the moves are those of one process.
TEST_CASE("an element of a tuple that throws when moved has failed, and the others have not",
          "[threads]") {
  using Bad = Meddler<struct BadTag>;
  constexpr auto both = [] { return Bad::pair(); };
  Bad::when_moved = [] { throw std::domain_error("cannot be moved"); };
  ray::Runtime rt({.num_cpus = 1});
  auto refs = rt.remote<both>();
  CHECK_THROWS_AS(rt.get(std::get<0>(refs), kDeadline), std::domain_error);
  CHECK(rt.get(std::get<1>(refs), kDeadline) == 2);
  Bad::armed = false;
}

TEST_CASE("tuples that end while they are cancelled have all of their elements or none") {
  constexpr auto three = [](int n) { return std::tuple(n, std::string("text"), n); };
  ray::Runtime rt({.num_cpus = 2});
  for (int i = 0; i < probes::scaled(2000); ++i) {
    auto [a, b, c] = rt.remote<three>(i);
    rt.cancel(b);
    const bool has = rt.try_get(a, kDeadline).has_value();
    CHECK(rt.try_get(b, kDeadline).has_value() == has);
    CHECK(rt.try_get(c, kDeadline).has_value() == has);
  }
}

// In threads only: the items are destroyed in one process.
TEST_CASE("an unread item of a cancelled stream may cancel its own task when destroyed",
          "[threads]") {
  using Item = Meddler<struct ItemTag>;
  static ray::ObjectRef<Item> first;
  static probes::Shared<int> cancels;
  constexpr auto items = []() -> ray::Generator<Item> {
    co_yield Item(1);
    gate<ItemTag>.pass();
    co_yield Item(2);
  };
  Item::when_destroyed = [] {
    ray::cancel(first);
    ++cancels;
  };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate<ItemTag>);
  auto stream = rt.remote<items>();
  first = *stream.next();
  REQUIRE(gate<ItemTag>.await_waiting(1));
  ray::cancel(first);
  const auto second = stream.next();
  REQUIRE(second.has_value());
  CHECK_THROWS_AS(rt.get(*second, kDeadline), ray::TaskCancelledError);
  CHECK_FALSE(stream.next().has_value());
  Item::armed = true;
  gate<ItemTag>.open();
  CHECK(eventually([] { return cancels >= 2; }));
  Item::armed = false;
  first = {};
}

}  // namespace cancel_test
