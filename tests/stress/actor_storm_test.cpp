// Many actors, many callers, waits inside and ends at random: every call ends, in order.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace {

using probes::kDeadline;
using probes::scaled;
using stress::below;

int same(int x) { return x; }
int depth(int left) { return left == 0 ? 0 : 1 + ray::get(ray::remote<depth>(left - 1)); }

struct StateTag;

/// Checks that its calls never overlap and that each caller's come in order.
class Account {
public:
  int call(int caller, int number) {
    const int inside = ++inside_;
    int& last = last_[static_cast<std::size_t>(caller)];
    const bool good = inside == 1 && number > last;
    last = number;
    --inside_;
    wrong_ += good ? 0 : 1;
    ++calls_;
    return number;
  }
  int wrong() const { return wrong_; }
  int calls() const { return calls_; }
  int waits(int n) { return ray::get(ray::remote<depth>(n)); }
  ray::Task<int> awaits(int x) { co_return co_await ray::remote<same>(x); }
  int sum(int n) {
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < n; ++i) refs.push_back(ray::remote<same>(1));
    int total = 0;
    for (int x : ray::get(refs)) total += x;
    return total;
  }

private:
  std::atomic<int> inside_{0};
  std::vector<int> last_ = std::vector<int>(16, -1);
  int wrong_ = 0;
  int calls_ = 0;
  probes::Counted<StateTag> state_{1};
};

/// Asks the next in a row of actors and adds one.
class Link {
public:
  explicit Link(ray::ActorHandle<Link> next) : next_(std::move(next)) {}
  int length() { return next_ ? 1 + ray::get(ray::remote<&Link::length>(next_)) : 1; }

private:
  ray::ActorHandle<Link> next_;
};

}  // namespace

TEST_CASE("many threads call many actors, each in its own order") {
  ray::Runtime rt({.num_cpus = 2});
  std::vector<ray::ActorHandle<Account>> accounts;
  for (int i = 0; i < 20; ++i) accounts.push_back(rt.actor<Account>());
  const int calls = scaled(20'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) {
        rt.remote<&Account::call>(accounts[static_cast<std::size_t>(i) % 20], t, i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int total = 0;
  for (const auto& account : accounts) {
    CHECK(rt.get(rt.remote<&Account::wrong>(account), kDeadline) == 0);
    REQUIRE(probes::eventually(
        [&] { return rt.get(rt.remote<&Account::calls>(account), kDeadline) >= calls / 20 * 4; }));
    total += rt.get(rt.remote<&Account::calls>(account));
  }
  CHECK(total == 4 * calls);
}

TEST_CASE("nested gets mixed with actors that wait end on one and on two CPUs") {
  for (const double cpus : {1.0, 2.0}) {
    ray::Runtime rt({.num_cpus = cpus});
    std::vector<ray::ActorHandle<Account>> accounts;
    for (int i = 0; i < 10; ++i) accounts.push_back(rt.actor<Account>());
    std::vector<ray::ObjectRef<int>> refs;
    int expected = 0;
    for (int i = 0; i < scaled(500); ++i) {
      const auto& account = accounts[static_cast<std::size_t>(i) % accounts.size()];
      switch (i % 5) {
        case 0:
          refs.push_back(rt.remote<&Account::waits>(account, 10));
          expected += 10;
          break;
        case 1:
          refs.push_back(rt.remote<&Account::sum>(account, 10));
          expected += 10;
          break;
        case 2:
          refs.push_back(rt.remote<&Account::awaits>(account, 3));
          expected += 3;
          break;
        case 3:
          refs.push_back(rt.remote<depth>(20));
          expected += 20;
          break;
        default:
          refs.push_back(rt.remote<same>(1));
          expected += 1;
          break;
      }
    }
    int sum = 0;
    for (const auto& ref : refs) sum += rt.get(ref, kDeadline);
    CHECK(sum == expected);
  }
}

TEST_CASE("a row of 200 actors that ask one another ends on one CPU") {
  const int length = probes::kSanitized ? 50 : 200;
  ray::Runtime rt({.num_cpus = 1});
  ray::ActorHandle<Link> head;
  for (int i = 0; i < length; ++i) head = rt.actor<Link>(head);
  CHECK(rt.get(rt.remote<&Link::length>(head), kDeadline) == length);
}

TEST_CASE("actors come and go by the thousand and leave nothing behind") {
  auto random = stress::seeded("actors come and go");
  ray::Runtime rt({.num_cpus = 2});
  std::vector<ray::ActorHandle<Account>> accounts;
  int ended = 0;
  for (int i = 0; i < scaled(5000); ++i) {
    accounts.push_back(rt.actor<Account>());
    const auto call = rt.remote<&Account::call>(accounts.back(), 0, i);
    if (below(random, 3) == 0) rt.kill(accounts.back());
    if (below(random, 4) == 0) {
      const auto result = rt.try_get(call, kDeadline);
      ended += result.has_value() ? 1 : 0;
    }
    if (accounts.size() > 50) accounts.erase(accounts.begin() + below(random, 50));
  }
  CHECK(ended > 0);
  accounts.clear();
  CHECK(probes::Counted<StateTag>::none_left());
}

TEST_CASE("actors killed and restarted under calls answer or fail each call once") {
  struct Fragile {
    int same(int x) { return x; }
  };
  auto random = stress::seeded("kills and restarts");
  ray::init({.num_cpus = 2});
  for (int round = 0; round < scaled(30); ++round) {
    auto fragile = ray::actor<Fragile>.options({.max_restarts = -1, .max_task_retries = 2})();
    std::vector<ray::ObjectRef<int>> refs;
    std::thread killer([&, seed = random()] {
      std::mt19937_64 own(seed);
      for (int i = 0; i < 10; ++i) {
        for (int k = below(own, 1000); k > 0; --k) std::this_thread::yield();
        ray::kill(fragile, {.no_restart = false});
      }
    });
    for (int i = 0; i < 500; ++i) refs.push_back(ray::remote<&Fragile::same>(fragile, i));
    killer.join();
    int i = 0;
    for (const auto& ref : refs) {
      const auto result = ray::try_get(ref, kDeadline);
      if (result.has_value()) {
        CHECK(*result == i);
      } else {
        CHECK_THROWS_AS(result.value(), ray::Error);
        CHECK_FALSE(result.error().code() == ray::ErrorCode::get_timeout);
      }
      ++i;
    }
    CHECK(ray::get(ray::remote<&Fragile::same>(fragile, 7), kDeadline) == 7);
  }
  ray::shutdown();
}
