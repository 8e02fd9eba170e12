// Cancels from several threads at random moments: each reference ends once, in a value or an error.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <algorithm>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

using probes::kDeadline;
using probes::scaled;
using stress::below;

struct StormTag;
using Counted = probes::Counted<StormTag>;

int add(int a, int b) { return a + b; }
int uses(int x, const Counted& y) { return x + y.value(); }
int parent(int n) {
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < n; ++i) refs.push_back(ray::remote<add>(i, 1));
  int sum = 0;
  for (int x : ray::get(refs)) sum += x;
  return sum;
}
ray::Task<int> awaits(ray::ObjectRef<int> ref) { co_return co_await ref; }
int flaky(int x) {
  if (ray::context().attempt() < 2) throw std::runtime_error("again");
  return x;
}

ray::Generator<Counted> yields(int n) {
  for (int i = 0; i < n; ++i) co_yield Counted(i);
}
ray::Generator<Counted> yields_after_a_failure(int n) {
  for (int i = 0; i < n; ++i) co_yield Counted(i);
  if (ray::context().attempt() < 3) throw std::runtime_error("again");
}

struct Echo {
  int echo(int x) { return x; }
};

/// How each reference ended.
struct Ends {
  int values = 0;
  int cancelled = 0;
  int others = 0;
};

Ends ends_of(ray::Runtime& rt, const std::vector<ray::ObjectRef<int>>& refs) {
  Ends ends;
  for (const auto& ref : refs) {
    try {
      rt.get(ref, kDeadline);
      ++ends.values;
    } catch (const ray::TaskCancelledError&) {
      ++ends.cancelled;
    } catch (...) {
      ++ends.others;
    }
  }
  return ends;
}

}  // namespace

TEST_CASE("100,000 random cancels leave one end for each task and the resources whole") {
  auto random = stress::seeded("cancel storm");
  const int rounds = scaled(20);
  for (int round = 0; round < rounds; ++round) {
    ray::Runtime rt({.num_cpus = 2});
    std::vector<ray::ObjectRef<int>> refs{rt.put(1)};
    auto echo = rt.actor<Echo>();
    const int count = 2000;
    for (int i = 0; i < count; ++i) {
      const auto& some =
          refs[refs.size() - 1 - static_cast<std::size_t>(below(random, std::min(i + 1, 20)))];
      switch (below(random, 6)) {
        case 0:
          refs.push_back(rt.remote<add>(some, 1));
          break;
        case 1:
          refs.push_back(rt.remote<uses>(some, rt.put(Counted(1))));
          break;
        case 2:
          refs.push_back(rt.remote<parent>(below(random, 5)));
          break;
        case 3:
          refs.push_back(rt.remote<awaits>(some));
          break;
        case 4:
          refs.push_back(rt.remote<&Echo::echo>(echo, some));
          break;
        default:
          refs.push_back(rt.remote<add>(i, 1));
          break;
      }
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, seed = random()] {
        std::mt19937_64 own(seed);
        for (int i = 0; i < 2500; ++i) {
          const auto which = static_cast<std::size_t>(below(own, static_cast<int>(refs.size())));
          rt.cancel(refs[which], {.recursive = below(own, 2) == 0});
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const Ends ends = ends_of(rt, refs);
    CHECK(ends.values + ends.cancelled == static_cast<int>(refs.size()));
    CHECK(ends.others == 0);
    CHECK(rt.get(refs[0]) == 1);
    CHECK(rt.get(rt.remote<add>(1, 2), kDeadline) == 3);
    refs.clear();
    CHECK(probes::eventually([&] { return rt.available_resources() == rt.cluster_resources(); }));
    CHECK(Counted::none_left());
  }
}

TEST_CASE("a cancel that races with the end of its task gives the value or the cancel for good") {
  ray::Runtime rt({.num_cpus = 2});
  for (int i = 0; i < scaled(5000); ++i) {
    const auto ref = rt.remote<add>(i, 1);
    const auto next = rt.remote<add>(ref, 1);
    rt.cancel(ref);
    const auto first = rt.try_get(ref, kDeadline);
    for (int again = 0; again < 3; ++again) {
      const auto same = rt.try_get(ref, kDeadline);
      REQUIRE(same.has_value() == first.has_value());
      if (same.has_value()) REQUIRE(*same == i + 1);
    }
    const auto last = rt.try_get(next, kDeadline);
    REQUIRE(last.has_value() == first.has_value());
  }
}

TEST_CASE("cancels race with retries") {
  ray::init({.num_cpus = 2});
  for (int round = 0; round < scaled(20); ++round) {
    std::vector<ray::ObjectRef<int>> refs;
    const auto call = ray::remote<flaky>.options({.num_cpus = 0.5, .retry_exceptions = true});
    for (int i = 0; i < 200; ++i) refs.push_back(call(i));
    for (std::size_t i = 0; i < refs.size(); i += 2) ray::cancel(refs[i]);
    for (std::size_t i = 0; i < refs.size(); ++i) {
      const auto result = ray::try_get(refs[i], kDeadline);
      if (result.has_value()) {
        CHECK(*result == static_cast<int>(i));
      } else {
        CHECK(i % 2 == 0);
        CHECK_THROWS_AS(result.value(), ray::TaskCancelledError);
      }
    }
  }
  CHECK(probes::eventually([] { return ray::available_resources() == ray::cluster_resources(); }));
  ray::shutdown();
}

TEST_CASE("timeouts race with the ends of tasks") {
  ray::init({.num_cpus = 2});
  const auto call = ray::remote<add>.options({.timeout = std::chrono::microseconds(50)});
  int late = 0;
  for (int i = 0; i < scaled(3000); ++i) {
    const auto result = ray::try_get(call(i, 1), kDeadline);
    if (result.has_value()) {
      REQUIRE(*result == i + 1);
    } else {
      ++late;
    }
  }
  INFO(late << " were late");
  CHECK(ray::get(ray::remote<add>(1, 1)) == 2);
  ray::shutdown();
}

TEST_CASE("readers go while their generators begin, begin again, go on and end") {
  ray::Runtime rt({.num_cpus = 2});
  for (int round = 0; round < scaled(5000); ++round) {
    const int reads = round % 4;
    ray::ObjectRefStream<Counted> stream;
    if (round % 2 == 0) {
      stream = rt.remote<yields>(reads + 1);
    } else {
      stream = rt.with<yields_after_a_failure>({.retry_exceptions = true})(reads + 1);
    }
    for (int i = 0; i < reads; ++i) {
      const auto item = stream.next();
      REQUIRE(item.has_value());
      REQUIRE(rt.get(*item, kDeadline).value() == i);
    }
  }
  CHECK(probes::eventually([&] { return rt.available_resources() == rt.cluster_resources(); }));
  CHECK(Counted::none_left());
}
