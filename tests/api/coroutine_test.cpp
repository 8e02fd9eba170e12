// Coroutine tasks: they wait for objects without holding a worker.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <atomic>
#include <coroutine>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace coroutine_test {

namespace {

using probes::kDeadline;

int add(int a, int b) { return a + b; }

ray::Task<int> returns(int x) { co_return x; }
ray::Task<void> returns_nothing(int x) {
  (void)x;
  co_return;
}
ray::Task<std::string> text(std::string x) { co_return x + "!"; }
ray::Task<std::unique_ptr<int>> move_only(int x) { co_return std::make_unique<int>(x); }

ray::Task<int> sum_of_two(int a, int b) {
  auto x = ray::remote<add>(a, 0);
  auto y = ray::remote<add>(b, 0);
  co_return co_await x + co_await y;
}

ray::Task<int> awaits(ray::ObjectRef<int> ref) { co_return co_await ref + 1; }

ray::Task<int> deep(int left) {
  if (left == 0) co_return 0;
  co_return 1 + co_await ray::remote<deep>(left - 1);
}

ray::Task<int> throws_at_once() {
  throw std::logic_error("at once");
  co_return 0;
}
ray::Task<int> throws_later() {
  co_await ray::remote<add>(1, 1);
  throw std::domain_error("later");
}
ray::Task<int> handles(ray::ObjectRef<int> bad) {
  try {
    co_return co_await bad;
  } catch (const std::domain_error&) {
    co_return -1;
  }
}

}  // namespace

TEST_CASE("a coroutine is a task and gives an object") {
  ray::Runtime rt({.num_cpus = 1});
  ray::ObjectRef<int> ref = rt.remote<returns>(5);
  CHECK(rt.get(ref) == 5);
  rt.get(rt.remote<returns_nothing>(1));
  CHECK(rt.get(rt.remote<text>(std::string("hi"))) == "hi!");
  CHECK(*rt.get(rt.remote<move_only>(3)) == 3);
  CHECK(rt.get(rt.remote<add>(rt.remote<returns>(1), rt.remote<returns>(2))) == 3);
}

TEST_CASE("a coroutine awaits the results of tasks it starts") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<sum_of_two>(3, 4)) == 7);
  CHECK(rt.get(rt.remote<awaits>(rt.remote<add>(1, 1))) == 3);
  CHECK(rt.get(rt.remote<awaits>(rt.put(1))) == 2);
}

TEST_CASE("coroutines await each other 1,000 deep on one slot") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<deep>(1000), kDeadline) == 1000);
}

TEST_CASE("thousands of coroutines wait on one slot without holding it") {
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  const int count = probes::scaled(5000);
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  const auto held = rt.remote<hold>();
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(rt.remote<awaits>(held));
  CHECK(rt.get(rt.remote<add>(1, 2), kDeadline) == 3);
  CHECK_FALSE(refs.front().is_ready());
  gate.open();
  int sum = 0;
  for (int x : rt.get(refs)) sum += x;
  CHECK(sum == 2 * count);
}

TEST_CASE("what a coroutine throws comes out of get") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK_THROWS_AS(rt.get(rt.remote<throws_at_once>()), std::logic_error);
  CHECK_THROWS_AS(rt.get(rt.remote<throws_later>()), std::domain_error);
  CHECK(rt.get(rt.remote<handles>(rt.remote<throws_later>())) == -1);
  CHECK_THROWS_AS(rt.get(rt.remote<awaits>(rt.remote<throws_later>())), std::domain_error);
}

TEST_CASE("awaiting an lvalue gives the stored object and awaiting a temporary a value") {
  static constexpr auto make = [] { return std::string("made"); };
  constexpr auto both = []() -> ray::Task<bool> {
    auto ref = ray::remote<make>();
    const std::string& first = co_await ref;
    const std::string& second = co_await ref;
    std::string mine = co_await ray::remote<make>();
    mine += "!";
    co_return &first == &second&& mine == "made!";
  };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<both>()));
}

TEST_CASE("a coroutine that waits is cancelled") {
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  const auto held = rt.remote<hold>();
  const auto ref = rt.remote<awaits>(held);
  rt.get(rt.remote<add>(1, 1));
  rt.cancel(ref);
  CHECK_THROWS_AS(rt.get(ref, kDeadline), ray::TaskCancelledError);
  gate.open();
  CHECK(rt.get(held) == 1);
}

TEST_CASE("the arguments of a coroutine live as long as it does") {
  static probes::Gate gate;
  static constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  constexpr auto keeps = [](std::vector<int> mine, const std::string& seen) -> ray::Task<int> {
    const int one = co_await ray::remote<hold>();
    co_return static_cast<int>(mine.size() + seen.size()) + one;
  };
  ray::Runtime rt({.num_cpus = 2});
  auto ref = rt.remote<keeps>(std::vector<int>(3), rt.put(std::string(1000, 'x')));
  gate.open();
  CHECK(rt.get(ref, kDeadline) == 1004);
}

// In threads only: a process that ends destroys nothing.
TEST_CASE("values in the frame of a coroutine are destroyed, also when the runtime ends first",
          "[threads]") {
  struct FrameTag;
  using Counted = probes::Counted<FrameTag>;
  static probes::Gate gate;
  static constexpr auto hold = [] { gate.pass(); };
  constexpr auto keeps = [](ray::ObjectRef<void> held, int x) -> ray::Task<int> {
    const Counted local(x);
    co_await held;
    co_return local.value();
  };
  {
    ray::Runtime rt({.num_cpus = 1});
    const probes::OpenAtExit guard(gate);
    const auto held = rt.remote<hold>();
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < 10; ++i) refs.push_back(rt.remote<keeps>(held, i));
  }
  CHECK(Counted::none_left());
}

namespace {

/// A coroutine of the user's own, that no runtime knows.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

/// What somebody waits for, or why there is none.
struct Told {
  std::string text;
  std::atomic<bool> ended{false};
};
Detached tell(ray::ObjectRef<int> ref, Told& told) {
  try {
    told.text = std::to_string(co_await ref);
  } catch (const ray::Error& error) {
    told.text = error.what();
  }
  told.ended = true;
}

}  // namespace

// In threads only: it gives references of one runtime to tasks of another.
TEST_CASE("a user's own coroutine goes on where what it awaits ends after its runtime",
          "[threads]") {
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 1;
  };
  Told by_driver, by_worker;
  ray::Runtime longer({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  const auto running = longer.remote<hold>();
  REQUIRE(gate.await_waiting(1));
  const auto queued = longer.remote<hold>();
  {
    ray::Runtime rt({.num_cpus = 1});
    tell(rt.remote<add>(queued, 1), by_driver);
    tell(rt.remote<add>(running, 1), by_worker);
  }
  CHECK_FALSE(by_driver.ended);
  longer.cancel(queued);  // This thread resumes it, inside of no task.
  CHECK(by_driver.ended);
  CHECK(by_driver.text.find("cancelled") != std::string::npos);
  CHECK_FALSE(by_worker.ended);
  gate.open();  // Here a worker does, inside of a task of another runtime.
  REQUIRE(probes::eventually([&] { return by_worker.ended.load(); }));
  CHECK(by_worker.text.find("shut down") != std::string::npos);
}

}  // namespace coroutine_test
