// wait(): which references are ready, in which order, and for how long it looks.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <chrono>
#include <cmath>
#include <deque>
#include <ranges>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace wait_test {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using probes::complaint;

int same(int x) { return x; }
int fails() { throw std::runtime_error("no"); }

}  // namespace

TEST_CASE("wait gives ready and pending in input order") {
  static probes::Gate gate;
  constexpr auto hold = [](int x) {
    gate.pass();
    return x;
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  const auto a = rt.remote<hold>(0), b = rt.put(1), c = rt.remote<hold>(2), d = rt.put(3);
  const std::vector refs{a, b, c, d};
  const auto both = rt.wait(refs, {.num_returns = 2});
  CHECK(both.ready == std::vector{b, d});
  CHECK(both.pending == std::vector{a, c});
  const auto one = rt.wait(refs);
  CHECK(one.ready == std::vector{b});
  CHECK(one.pending == std::vector{a, c, d});
  gate.open();
  const auto all = rt.wait(refs, {.num_returns = 4});
  CHECK(all.ready == refs);
  CHECK(all.pending.empty());
}

TEST_CASE("wait never gives more than num_returns as ready") {
  ray::Runtime rt({.num_cpus = 1});
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 10; ++i) refs.push_back(rt.put(i));
  for (std::size_t n = 1; n <= 10; ++n) {
    const auto result = rt.wait(refs, {.num_returns = n});
    CHECK(result.ready.size() == n);
    CHECK(result.pending.size() == 10 - n);
  }
}

TEST_CASE("wait moves the references of a range that is given up, and only of that") {
  ray::Runtime rt({.num_cpus = 1});
  std::vector refs{rt.put(1), rt.put(2), rt.put(3)};
  const auto copy = refs;
  CHECK_THROWS_AS(rt.wait(std::move(refs), {.num_returns = 4}), ray::InvalidArgumentError);
  CHECK(refs == copy);
  CHECK(rt.wait(std::span(refs)).pending.size() == 2);
  CHECK(refs == copy);
  auto first = refs | std::views::take_while([&](const auto& ref) { return ref != copy[2]; });
  CHECK(rt.wait(first, {.num_returns = 2}).ready.size() == 2);
  CHECK(rt.get(first) == std::vector{1, 2});
  const auto result = rt.wait(std::move(refs), {.num_returns = 2});
  CHECK(result.ready == std::vector{copy[0], copy[1]});
  CHECK(result.pending == std::vector{copy[2]});
  for (const auto& ref : refs) CHECK_FALSE(ref);
}

TEST_CASE("wait with a timeout comes back with what there is") {
  static probes::Gate gate;
  constexpr auto hold = [](int x) {
    gate.pass();
    return x;
  };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  const std::vector refs{rt.remote<hold>(1), rt.put(2)};
  const auto start = Clock::now();
  const auto result = rt.wait(refs, {.num_returns = 2, .timeout = 20ms});
  CHECK(Clock::now() - start >= 20ms);
  CHECK(result.ready == std::vector{refs[1]});
  CHECK(result.pending == std::vector{refs[0]});
  CHECK(rt.wait(std::vector{refs[0]}, {.timeout = 0ms}).ready.empty());
  CHECK(rt.wait(refs, {.num_returns = 2, .timeout = 0s}).ready.size() == 1);
}

TEST_CASE("wait ends as soon as enough is ready, long before its timeout") {
  ray::Runtime rt({.num_cpus = 1});
  const auto start = Clock::now();
  CHECK(rt.wait(std::vector{rt.remote<same>(1)}, {.timeout = std::chrono::hours(1000000)})
            .ready.size() == 1);
  CHECK(Clock::now() - start < probes::kDeadline);
}

TEST_CASE("a failed and a cancelled object count as ready") {
  ray::Runtime rt({.num_cpus = 1});
  const auto bad = rt.remote<fails>();
  const auto result = rt.wait(std::vector{bad}, {.timeout = probes::kDeadline});
  CHECK(result.ready.size() == 1);
  CHECK_THROWS_AS(rt.get(bad), std::runtime_error);

  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 0;
  };
  const probes::OpenAtExit guard(gate);
  auto holder = rt.remote<hold>();
  auto queued = rt.remote<same>(holder);
  rt.cancel(queued);
  CHECK(rt.wait(std::vector{queued}, {.timeout = probes::kDeadline}).ready.size() == 1);
}

TEST_CASE("wait takes duplicates and counts each") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.put(1);
  const auto result = rt.wait(std::vector{ref, ref, ref}, {.num_returns = 2});
  CHECK(result.ready.size() == 2);
  CHECK(result.pending.size() == 1);
}

TEST_CASE("wait for nothing comes back at once") {
  ray::Runtime rt({.num_cpus = 1});
  const std::vector<ray::ObjectRef<int>> none;
  for (const std::size_t num_returns : {0, 1, 2}) {
    const auto result = rt.wait(none, {.num_returns = num_returns});
    CHECK(result.ready.empty());
    CHECK(result.pending.empty());
  }
}

TEST_CASE("num_returns over the number of references is refused by name and value") {
  ray::Runtime rt({.num_cpus = 1});
  const std::vector refs{rt.put(1), rt.put(2)};
  const std::string text = complaint([&] { rt.wait(refs, {.num_returns = 3}); });
  CHECK(text.find("num_returns") != std::string::npos);
  CHECK(text.find('3') != std::string::npos);
}

TEST_CASE("a negative timeout of wait is refused") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK_THROWS_AS(rt.wait(std::vector{rt.put(1)}, {.timeout = -1s}), ray::InvalidArgumentError);
}

TEST_CASE("a negative timeout of get is refused in every form, with what to do instead") {
  ray::Runtime rt({.num_cpus = 1});
  const auto there = rt.put(1);
  for (const std::string& text :
       {complaint([&] { ray::get(there, -1ms); }), complaint([&] { rt.get(there, -0.5s); }),
        complaint([&] { ray::get(std::vector{there}, -1ms); }),
        complaint([&] { ray::try_get(there, -1ms).value(); }),
        complaint([&] { ray::wait(std::vector{there}, {.timeout = -1ms}); })}) {
    INFO(text);
    CHECK(text.find("must not be negative") != std::string::npos);
    CHECK(text.find("0 looks without waiting") != std::string::npos);
  }
  CHECK(ray::get(there, 0ms) == 1);
}

TEST_CASE("a timeout is any duration, fractional ones too, wherever one is taken") {
  static probes::Gate gate;
  constexpr auto hold = [] { gate.pass(); };
  struct Holder {
    void hold() { gate.pass(); }
  };
  using Millis = std::chrono::duration<double, std::milli>;
  using Hours = std::chrono::duration<float, std::ratio<3600>>;
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  const auto late = rt.remote<hold>();
  const std::vector refs{late, late};
  const auto start = Clock::now();
  CHECK_THROWS_AS(rt.get(late, 0.002s), ray::GetTimeoutError);
  CHECK_THROWS_AS(ray::get(refs, Millis(2.5)), ray::GetTimeoutError);
  CHECK_THROWS_AS(rt.get(refs, 0.002s), ray::GetTimeoutError);
  CHECK_THROWS_AS(ray::try_get(late, Hours(1e-6f)).value(), ray::GetTimeoutError);
  CHECK(ray::wait(refs, {.timeout = 0.002s}).ready.empty());
  CHECK(ray::wait(refs, {.timeout = Millis(0.5)}).ready.empty());
  CHECK(Clock::now() - start >= 12ms);
  const auto holder = rt.actor<Holder>();
  const auto task = ray::remote<hold>.options({.timeout = 0.002s})();
  const auto call = ray::remote<&Holder::hold>.options({.timeout = Millis(1.5)})(holder);
  CHECK_THROWS_AS(rt.get(task), ray::TaskCancelledError);
  CHECK_THROWS_AS(rt.get(call), ray::TaskCancelledError);

  const auto there = rt.put(1);
  CHECK(ray::get(there, std::chrono::duration<double>::max()) == 1);
  CHECK(ray::get(std::vector{there}, 1e300 * 1s).size() == 1);
  CHECK_THROWS_AS(rt.get(there, std::nan("") * 1s), ray::InvalidArgumentError);
  CHECK_THROWS_AS(rt.get(there, -1e300 * 1s), ray::InvalidArgumentError);
  try {
    rt.get(late, 0.25ms);
    FAIL("came back");
  } catch (const ray::GetTimeoutError& error) {
    CHECK(std::string(error.what()).find("after 0.25 ms") != std::string::npos);
  }
}

TEST_CASE("a loop of wait meets every result once") {
  ray::Runtime rt({.num_cpus = 2});
  std::deque<ray::ObjectRef<int>> refs;
  for (int i = 0; i < 200; ++i) refs.push_back(rt.remote<same>(i));
  auto result = rt.wait(refs);
  int sum = 0;
  int rounds = 1;
  while (true) {
    for (const auto& ref : result.ready) sum += rt.get(ref);
    if (result.pending.empty()) break;
    result = rt.wait(result.pending, {.num_returns = 1});
    ++rounds;
  }
  CHECK(sum == 199 * 100);
  CHECK(rounds == 200);
}

TEST_CASE("wait inside a task lends its place") {
  constexpr auto outer = [] {
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < 10; ++i) refs.push_back(ray::remote<same>(i));
    return static_cast<int>(ray::wait(refs, {.num_returns = 10}).ready.size());
  };
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<outer>(), probes::kDeadline) == 10);
}

TEST_CASE("many threads wait for the same references") {
  static probes::Gate gate;
  constexpr auto hold = [](int x) {
    gate.pass();
    return x;
  };
  ray::Runtime rt({.num_cpus = 2});
  const std::vector refs{rt.remote<hold>(1), rt.remote<hold>(2)};
  std::atomic<std::size_t> seen{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { seen += rt.wait(refs, {.num_returns = 2}).ready.size(); });
  }
  gate.open();
  for (std::thread& thread : threads) thread.join();
  CHECK(seen == 16);
}

TEST_CASE("free wait acts on the current runtime") {
  ray::init({.num_cpus = 1});
  CHECK(ray::wait(std::vector{ray::remote<same>(1)}).ready.size() == 1);
  ray::shutdown();
}

TEST_CASE("a driver hears of a task's timeout at once, since it does not run that task itself") {
  constexpr auto long_one = [](probes::Gate gate) {
    gate.pass();
    return 1;
  };
  ray::Runtime rt({.num_cpus = 1});
  for (int round = 0; round < 20; ++round) {
    const probes::Gate gate;
    // The gate opens after the get only: who ran the task would wait for itself.
    CHECK_THROWS_AS(rt.get(rt.with<long_one>({.timeout = 1ms})(gate)), ray::TaskCancelledError);
    gate.open();
  }
}

}  // namespace wait_test
