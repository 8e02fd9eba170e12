// Graphs of tasks: chains, diamonds, fans, tasks that start tasks, and waiting inside tasks.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <deque>
#include <numeric>
#include <vector>

namespace graph_test {

namespace {

using probes::kDeadline;
using probes::scaled;
using Refs = std::vector<ray::ObjectRef<int>>;

int add(int a, int b) { return a + b; }
int next(int x) { return x + 1; }
int same(int x) { return x; }
int sum_of(const Refs& refs) {
  int sum = 0;
  for (int x : ray::get(refs)) sum += x;
  return sum;
}

int sub_experiment(int i, int j) { return i + j; }
int run_experiment(int i) {
  Refs parts;
  for (int j = 0; j < 10; ++j) parts.push_back(ray::remote<sub_experiment>(i, j));
  return sum_of(parts);
}

int depth(int left) { return left == 0 ? 0 : 1 + ray::get(ray::remote<depth>(left - 1)); }

int fibonacci(int n) {
  if (n < 2) return n;
  auto a = ray::remote<fibonacci>(n - 1);
  auto b = ray::remote<fibonacci>(n - 2);
  return ray::get(a) + ray::get(b);
}

bool is_even(int n);
bool is_odd(int n) { return n == 0 ? false : ray::get(ray::remote<is_even>(n - 1)); }
bool is_even(int n) { return n == 0 ? true : ray::get(ray::remote<is_odd>(n - 1)); }

}  // namespace

TEST_CASE("the steps of the tutorial give the tutorial's answers") {
  ray::Runtime rt({.num_cpus = 2});
  const auto x = rt.remote<next>(0);
  const auto y = rt.remote<next>(x);
  const auto z = rt.remote<next>(y);
  CHECK(rt.get(z) == 3);

  Refs experiments;
  for (int i = 0; i < 5; ++i) experiments.push_back(rt.remote<run_experiment>(i));
  CHECK(rt.get(experiments) == std::vector<int>{45, 55, 65, 75, 85});

  std::deque<ray::ObjectRef<int>> data;
  for (int i = 0; i < 100; ++i) data.push_back(rt.remote<same>(i));
  while (data.size() > 1) {
    data.push_back(rt.remote<add>(data[0], data[1]));
    data.pop_front();
    data.pop_front();
  }
  CHECK(rt.get(data.front()) == 4950);
}

TEST_CASE("a chain of 100,000 tasks ends with the right number") {
  const int length = scaled(100'000);
  ray::Runtime rt({.num_cpus = 2});
  auto ref = rt.remote<next>(0);
  for (int i = 1; i < length; ++i) ref = rt.remote<next>(ref);
  CHECK(rt.get(ref) == length);
}

TEST_CASE("a chain whose head is held back runs through when it opens") {
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 0;
  };
  const int length = scaled(100'000);
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  auto ref = rt.remote<hold>();
  for (int i = 0; i < length; ++i) ref = rt.remote<next>(ref);
  gate.open();
  CHECK(rt.get(ref) == length);
}

TEST_CASE("a chain of which every reference is kept is freed without deep recursion") {
  const int length = scaled(100'000);
  ray::Runtime rt({.num_cpus = 2});
  Refs all{rt.remote<next>(0)};
  for (int i = 1; i < length; ++i) all.push_back(rt.remote<next>(all.back()));
  CHECK(rt.get(all.back()) == length);
}

TEST_CASE("objects that hold one another in a long list are freed without deep recursion") {
  struct Link {
    int value;
    std::vector<ray::ObjectRef<Link>> before;
  };
  ray::Runtime rt({.num_cpus = 1});
  auto head = rt.put(Link{0, {}});
  for (int i = 1; i < 100'000; ++i) head = rt.put(Link{i, {head}});
  CHECK(rt.get(head).value == 99'999);
  head = {};
}

TEST_CASE("diamonds on diamonds run each task once") {
  static probes::Shared<int> runs;
  constexpr auto counted_add = [](int a, int b) {
    ++runs;
    return (a + b) % 1'000'003;
  };
  ray::Runtime rt({.num_cpus = 2});
  auto ref = rt.put(1);
  int expected = 1;
  for (int i = 0; i < 500; ++i) {
    const auto left = rt.remote<counted_add>(ref, 1);
    const auto right = rt.remote<counted_add>(ref, 2);
    ref = rt.remote<counted_add>(left, right);
    expected = ((expected + 1) % 1'000'003 + (expected + 2) % 1'000'003) % 1'000'003;
  }
  CHECK(rt.get(ref) == expected);
  CHECK(runs == 1500);
}

TEST_CASE("one object fans out to 10,000 tasks and in again") {
  const int width = scaled(10'000);
  ray::Runtime rt({.num_cpus = 2});
  const auto source = rt.remote<same>(1);
  Refs refs;
  for (int i = 0; i < width; ++i) refs.push_back(rt.remote<add>(source, i));
  int sum = 0;
  for (int x : rt.get(refs)) sum += x;
  CHECK(sum == width + width * (width - 1) / 2);
}

TEST_CASE("one task waits for 10,000 others") {
  const int width = scaled(10'000);
  ray::Runtime rt({.num_cpus = 2});
  Refs refs;
  for (int i = 0; i < width; ++i) refs.push_back(rt.remote<same>(1));
  CHECK(rt.get(rt.remote<sum_of>(refs)) == width);
}

TEST_CASE("get nested 1,000 deep ends with one slot and with two") {
  const int levels = probes::kSanitized ? 200 : 1000;
  for (const double cpus : {1.0, 2.0}) {
    ray::Runtime rt({.num_cpus = cpus});
    CHECK(rt.get(rt.remote<depth>(levels), kDeadline) == levels);
  }
}

TEST_CASE("a recursion that branches ends with one slot and with two") {
  for (const double cpus : {1.0, 2.0}) {
    ray::Runtime rt({.num_cpus = cpus});
    CHECK(rt.get(rt.remote<fibonacci>(14), kDeadline) == 377);
  }
}

TEST_CASE("tasks that call each other end") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<is_even>(51), kDeadline) == false);
  CHECK(rt.get(rt.remote<is_odd>(51), kDeadline));
}

TEST_CASE("a task that waits never buries the task it waits for") {
  // A waits for X. While it waits its worker has Y to run, and Y waits for A: a worker that ran Y
  // on top of A would stand on what Y waits for.
  static probes::Gate y_is_there;
  constexpr auto x = [] {
    y_is_there.pass();
    return 1;
  };
  constexpr auto a = [](ray::ObjectRef<int> of_x) { return ray::get(of_x) + 1; };
  constexpr auto y = [](ray::ObjectRef<int> of_a) { return ray::get(of_a) + 1; };
  for (int round = 0; round < 50; ++round) {
    for (const double cpus : {1.0, 2.0}) {
      ray::Runtime rt({.num_cpus = cpus});
      const auto ref_x = rt.remote<x>();
      const auto ref_a = rt.remote<a>(ref_x);
      const auto ref_y = rt.remote<y>(ref_a);
      y_is_there.open();
      CHECK(rt.get(ref_y, kDeadline) == 3);
    }
  }
}

TEST_CASE("the trap inside a task: children that wait for their parent's siblings") {
  static constexpr auto leaf = [](int i) { return i; };
  static constexpr auto waits = [](ray::ObjectRef<int> first) { return ray::get(first) + 1; };
  constexpr auto parent = [](int n) {
    auto ref = ray::remote<leaf>(0);
    Refs all;
    for (int i = 0; i < n; ++i) all.push_back(ref = ray::remote<waits>(ref));
    // The newest is asked for first: it waits for all the older ones.
    return ray::get(all.back()) + ray::get(all.front());
  };
  for (const double cpus : {1.0, 2.0}) {
    ray::Runtime rt({.num_cpus = cpus});
    CHECK(rt.get(rt.remote<parent>(200), kDeadline) == 201);
  }
}

TEST_CASE("a task passes its own future to others through main") {
  // Mutual waiting in which no cycle exists: each of n tasks waits for the reference before it.
  constexpr auto waits = [](ray::ObjectRef<int> before) { return ray::get(before) + 1; };
  ray::Runtime rt({.num_cpus = 2});
  auto ref = rt.put(0);
  for (int i = 0; i < 300; ++i) ref = rt.remote<waits>(ref);
  CHECK(rt.get(ref, kDeadline) == 300);
}

TEST_CASE("tasks run at the same time up to the number of CPUs and not beyond") {
  static probes::Meter meter;
  static probes::Shared<int> met;
  constexpr auto meet = [] {
    const probes::Meter::Inside inside(meter);
    ++met;
    return probes::eventually([] { return met >= 3; });
  };
  ray::Runtime rt({.num_cpus = 3});
  std::vector<ray::ObjectRef<bool>> refs;
  for (int i = 0; i < 30; ++i) refs.push_back(rt.remote<meet>());
  for (bool in_time : rt.get(refs)) CHECK(in_time);
  CHECK(meter.most() == 3);
}

TEST_CASE("one slot runs one task at a time, also with tasks that wait") {
  static probes::Meter meter;
  static constexpr auto leaf = [] {
    const probes::Meter::Inside inside(meter);
    return 1;
  };
  constexpr auto parent = [] {
    Refs refs;
    for (int i = 0; i < 20; ++i) refs.push_back(ray::remote<leaf>());
    return sum_of(refs);
  };
  ray::Runtime rt({.num_cpus = 1});
  Refs refs;
  for (int i = 0; i < 20; ++i) refs.push_back(rt.remote<parent>());
  for (int x : rt.get(refs)) CHECK(x == 20);
  CHECK(meter.most() == 1);
}

TEST_CASE("many small tasks go through a runtime") {
  const int count = scaled(200'000);
  ray::Runtime rt({.num_cpus = 2});
  long sum = 0;
  for (int round = 0; round < 5; ++round) {
    Refs refs;
    refs.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) refs.push_back(rt.remote<same>(1));
    for (const auto& ref : refs) sum += rt.get(ref);
  }
  CHECK(sum == 5L * count);
}

TEST_CASE("who gives a task what another runtime has not made yet does not wait for it") {
  static probes::Gate gate;
  static constexpr auto hold = [](int x) {
    gate.pass();
    if (x < 0) throw std::domain_error("below zero");
    return x;
  };
  constexpr auto add = [](int a, int b) { return a + b; };
  constexpr auto first = [](const std::vector<ray::ObjectRef<int>>& refs) {
    return ray::get(refs.at(0));
  };
  struct Log {
    std::vector<int> seen;
    std::vector<int> add(int x) {
      seen.push_back(x);
      return seen;
    }
  };
  ray::Runtime rt({.num_cpus = 2});
  ray::Runtime other({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  const auto held = other.remote<hold>(1);
  const auto bad = other.remote<hold>(-1);
  REQUIRE(gate.await_waiting(2));
  const auto sum = rt.remote<add>(held, 1);
  const auto none = rt.remote<add>(bad, 1);
  const auto inner = rt.remote<first>(std::vector{held});
  auto log = rt.actor<Log>();
  const auto one = rt.remote<&Log::add>(log, held);
  const auto two = rt.remote<&Log::add>(log, 2);
  const std::vector all{sum, none, inner};
  CHECK(rt.wait(all, {.timeout = std::chrono::milliseconds(20)}).ready.empty());
  gate.open();
  CHECK(rt.get(sum, probes::kDeadline) == 2);
  CHECK_THROWS_AS(rt.get(none, probes::kDeadline), std::domain_error);
  CHECK(rt.get(inner, probes::kDeadline) == 1);
  CHECK(rt.get(two, probes::kDeadline) == std::vector{1, 2});
}

}  // namespace graph_test
