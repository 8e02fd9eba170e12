// The end of a runtime at every point of every kind of load: it comes, and within five seconds.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using probes::scaled;
using stress::below;

struct LoadTag;
using Counted = probes::Counted<LoadTag>;

int next(int x) { return x + 1; }
int fails(int) { throw std::runtime_error("no"); }
Counted make(int n) { return Counted(n); }
int value_of(const Counted& x) { return x.value(); }
int nested(int left) { return left == 0 ? 0 : 1 + ray::get(ray::remote<nested>(left - 1)); }
int waits(ray::ObjectRef<int> ref) { return ray::get(ref) + 1; }
ray::Task<int> awaits(ray::ObjectRef<int> ref) { co_return co_await ref + 1; }
ray::Generator<int> stream(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}
int stops() {
  const auto token = ray::context().stop_token();
  probes::eventually([&] { return token.stop_requested(); }, std::chrono::milliseconds(100));
  return 1;
}

struct Actor {
  Counted state{1};
  int add(int n) { return state.value() + n; }
  int asks(int n) { return ray::get(ray::remote<nested>(n)); }
  ray::Task<int> awaits(ray::ObjectRef<int> ref) { co_return co_await ref; }
};

/// What was submitted; some references are kept beyond the end of the runtime.
struct Kept {
  std::vector<ray::ObjectRef<int>> numbers;
  std::vector<ray::ObjectRef<Counted>> objects;
  std::vector<ray::ObjectRefStream<int>> streams;
  std::vector<ray::ActorHandle<Actor>> actors;
};

void submit_something(ray::Runtime& rt, std::mt19937_64& random, Kept& kept) {
  const auto some = [&] {
    return kept
        .numbers[static_cast<std::size_t>(below(random, static_cast<int>(kept.numbers.size())))];
  };
  if (kept.numbers.empty()) kept.numbers.push_back(rt.put(1));
  if (kept.actors.empty()) kept.actors.push_back(rt.actor<Actor>());
  switch (below(random, 12)) {
    case 0:
      kept.numbers.push_back(rt.remote<next>(some()));
      break;
    case 1:
      kept.numbers.push_back(rt.remote<fails>(1));
      break;
    case 2:
      kept.objects.push_back(rt.remote<make>(1));
      break;
    case 3:
      kept.objects.push_back(rt.put(Counted(2)));
      break;
    case 4:
      kept.numbers.push_back(rt.remote<nested>(below(random, 20)));
      break;
    case 5:
      kept.numbers.push_back(rt.remote<waits>(some()));
      break;
    case 6:
      kept.numbers.push_back(rt.remote<awaits>(some()));
      break;
    case 7:
      kept.streams.push_back(rt.remote<stream>(below(random, 200)));
      break;
    case 8:
      kept.numbers.push_back(rt.remote<&Actor::add>(kept.actors.back(), some()));
      break;
    case 9:
      kept.numbers.push_back(rt.remote<&Actor::asks>(kept.actors.back(), 3));
      break;
    case 10:
      kept.numbers.push_back(rt.remote<&Actor::awaits>(kept.actors.back(), some()));
      break;
    case 11:
      if (below(random, 10) == 0) kept.actors.push_back(rt.actor<Actor>());
      if (below(random, 10) == 0) kept.numbers.push_back(rt.remote<stops>());
      if (!kept.objects.empty()) kept.numbers.push_back(rt.remote<value_of>(kept.objects.back()));
      break;
  }
}

/// Whether the runtime ends within five seconds (a minute under a sanitizer).
bool ends_soon(std::unique_ptr<ray::Runtime> rt) {
  const auto start = Clock::now();
  rt.reset();
  return Clock::now() - start < std::chrono::seconds(probes::kSanitized ? 60 : 5);
}

}  // namespace

TEST_CASE("a runtime ends at random moments under a mixed load and frees everything") {
  auto random = stress::seeded("shutdown");
  const int rounds = scaled(150);
  for (int round = 0; round < rounds; ++round) {
    Kept kept;
    auto rt = std::make_unique<ray::Runtime>(
        ray::RuntimeOptions{.num_cpus = static_cast<double>(1 + below(random, 3))});
    const int load = below(random, 400);
    for (int i = 0; i < load; ++i) submit_something(*rt, random, kept);
    if (below(random, 2) == 0) {
      kept.numbers.clear();
    } else {
      kept.actors.clear();
    }
    CHECK(ends_soon(std::move(rt)));
  }
  CHECK(Counted::none_left());
}

TEST_CASE("a runtime that was just made ends") {
  for (int round = 0; round < scaled(300); ++round) {
    CHECK(ends_soon(std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 2})));
  }
}

TEST_CASE("a runtime ends while its own tasks go on submitting") {
  static std::atomic<bool> stop{false};
  static constexpr auto breeds = [](int n) {
    return stop ? 0 : static_cast<int>(ray::remote<next>(n).id().value & 1U);
  };
  constexpr auto floods = [] {
    int sum = 0;
    for (int i = 0; i < 100'000 && !ray::context().stop_token().stop_requested(); ++i) {
      ray::remote<breeds>(i);
      ++sum;
    }
    return sum;
  };
  for (int round = 0; round < scaled(40); ++round) {
    auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 2});
    auto a = rt->remote<floods>();
    auto b = rt->remote<floods>();
    CHECK(rt->get(rt->remote<next>(1), probes::kDeadline) == 2);
    CHECK(ends_soon(std::move(rt)));
  }
}

TEST_CASE("a runtime ends while chains, fans and deep waits are half done") {
  auto random = stress::seeded("half done");
  for (int round = 0; round < scaled(60); ++round) {
    auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 2});
    auto chain = rt->remote<next>(0);
    for (int i = 0; i < 2000; ++i) chain = rt->remote<next>(chain);
    std::vector<ray::ObjectRef<int>> fan;
    for (int i = 0; i < 2000; ++i) fan.push_back(rt->remote<next>(chain));
    auto deep = rt->remote<nested>(probes::kSanitized ? 50 : 200);
    const auto some = static_cast<std::size_t>(below(random, 2000));
    if (round % 2 == 0) rt->wait(std::vector{fan[some]});
    CHECK(ends_soon(std::move(rt)));
  }
}

TEST_CASE("a runtime ends while streams are half read and actors half done") {
  auto random = stress::seeded("half read");
  for (int round = 0; round < scaled(60); ++round) {
    auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 1});
    std::vector<ray::ObjectRefStream<int>> streams;
    for (int i = 0; i < 10; ++i) streams.push_back(rt->remote<stream>(1000));
    for (auto& each : streams) {
      for (int i = below(random, 20); i > 0; --i) each.next();
    }
    auto actor = rt->actor<Actor>();
    for (int i = below(random, 200); i > 0; --i) rt->remote<&Actor::asks>(actor, 2);
    if (round % 3 == 0) streams.clear();
    if (round % 3 == 1) actor = {};
    CHECK(ends_soon(std::move(rt)));
  }
  CHECK(Counted::none_left());
}

TEST_CASE("references are dropped by other threads while the runtime ends") {
  for (int round = 0; round < scaled(100); ++round) {
    auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 2});
    std::vector<ray::ObjectRef<Counted>> refs;
    for (int i = 0; i < 500; ++i) refs.push_back(rt->remote<make>(i));
    std::atomic<bool> go{false};
    std::thread dropper([&] {
      while (!go) std::this_thread::yield();
      while (!refs.empty()) refs.pop_back();
    });
    go = true;
    CHECK(ends_soon(std::move(rt)));
    dropper.join();
  }
  CHECK(Counted::none_left());
}

TEST_CASE("threads that wait are released when the runtime is shut down") {
  for (int round = 0; round < scaled(50); ++round) {
    static probes::Gate* gate = nullptr;
    probes::Gate mine;
    gate = &mine;
    constexpr auto hold = [] {
      gate->pass();
      return 1;
    };
    auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 1});
    const auto held = rt->remote<hold>();
    const auto after = rt->remote<next>(held);
    REQUIRE(mine.await_waiting(1));
    std::atomic<int> released{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        static_cast<void>(ray::try_get(after, probes::kDeadline));
        ++released;
      });
    }
    std::thread opener([&] { mine.open(); });
    CHECK(ends_soon(std::move(rt)));
    opener.join();
    for (std::thread& thread : threads) thread.join();
    CHECK(released == 3);
  }
  ray::shutdown();
}

TEST_CASE("a runtime ends in which all threads wait for what nobody has begun") {
  static std::optional<ray::ObjectRef<int>> asked;
  // It holds the only CPU, so that the actor's child cannot run, and waits when all others end.
  constexpr auto holds = [] {
    const auto token = ray::context().stop_token();
    if (!probes::eventually([&] { return token.stop_requested(); })) return -1;
    probes::eventually([] { return false; }, std::chrono::milliseconds(20));
    return ray::try_get(*asked).has_value() ? 1 : 0;
  };
  auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 1});
  const auto actor = rt->actor<Actor>();
  const auto held = rt->remote<holds>();
  REQUIRE(probes::eventually([&] { return rt->available_resources().at("CPU") == 0; }));
  asked = rt->remote<&Actor::asks>(actor, 0);
  // Its method waits for a task in a lane by then.
  static_cast<void>(ray::try_get(*asked, std::chrono::milliseconds(20)));
  CHECK(ends_soon(std::move(rt)));
  CHECK(ray::try_get(held, probes::kDeadline).has_value());
  asked.reset();
}

namespace {

/// Everything that can be half done when a runtime ends, a step at a time.
constexpr int kSteps = 16;
void take_step(int step, ray::Runtime& rt, Kept& kept) {
  using namespace std::chrono_literals;
  switch (step) {
    case 0:
      kept.numbers.push_back(rt.put(1));
      kept.actors.push_back(rt.actor<Actor>());
      break;
    case 1:
      kept.streams.push_back(rt.remote<stream>(1000));
      break;
    case 2:
      for (int i = 0; i < 3; ++i) kept.streams[0].next();
      break;
    case 3:  // A task that goes on until it is told to stop; what waits for it follows.
      kept.numbers.push_back(rt.remote<stops>());
      break;
    case 4:
      kept.numbers.push_back(rt.remote<waits>(kept.numbers.back()));
      break;
    case 5:
      kept.numbers.push_back(rt.remote<awaits>(kept.numbers[1]));
      break;
    case 6:
      kept.numbers.push_back(rt.remote<&Actor::awaits>(kept.actors[0], kept.numbers[1]));
      break;
    case 7:
      for (int i = 0; i < 20; ++i) {
        kept.numbers.push_back(rt.remote<&Actor::add>(kept.actors[0], i));
        kept.numbers.push_back(rt.remote<&Actor::asks>(kept.actors[0], 2));
      }
      break;
    case 8:  // Its calls have a place in line, and no argument yet.
      kept.numbers.push_back(rt.remote<&Actor::add>(kept.actors[0], kept.numbers[1]));
      kept.numbers.push_back(rt.remote<&Actor::add>(kept.actors[0], 1));
      break;
    case 9:
      kept.numbers.push_back(rt.with<waits>({.timeout = 1h})(kept.numbers[1]));
      break;
    case 10:
      kept.numbers.push_back(rt.with<awaits>({.timeout = 1ms})(kept.numbers[1]));
      break;
    case 11:
      kept.numbers.push_back(rt.remote<nested>(30));
      break;
    case 12:  // In line for resources, behind one that has them.
      for (int i = 0; i < 5; ++i) {
        kept.numbers.push_back(rt.with<nested>({.num_cpus = 0, .num_gpus = 1})(2));
      }
      kept.actors.push_back(rt.actor_with<Actor>({.num_gpus = 1})());
      kept.numbers.push_back(rt.remote<&Actor::add>(kept.actors.back(), 1));
      break;
    case 13:
      rt.cancel(kept.numbers[3]);
      break;
    case 14:
      rt.kill(kept.actors[0]);
      kept.actors.erase(kept.actors.begin());
      break;
    case 15:
      kept.streams.clear();
      break;
  }
}

/// Looks, until it is told to stop, at what another thread's runtime makes and has made.
void meddle(std::mt19937_64 random, const Kept& kept, const std::atomic<bool>& stop) {
  using namespace std::chrono_literals;
  const auto some = [&](const auto& all) {
    return all[static_cast<std::size_t>(below(random, static_cast<int>(all.size())))];
  };
  std::vector<ray::ObjectRef<int>> own;
  while (!stop) {
    try {
      switch (below(random, 9)) {
        case 0:
          ray::get(some(kept.numbers), 100us);
          break;
        case 1:
          ray::try_get(some(kept.objects), 100us).has_value();
          break;
        case 2:
          ray::wait(std::vector{some(kept.numbers)}, {.timeout = 100us});
          break;
        case 3:
          ray::cancel(some(kept.numbers), {.recursive = below(random, 2) == 0});
          break;
        case 4:
        case 5:
          own.push_back(ray::remote<&Actor::add>(some(kept.actors), 1));
          break;
        case 6:
          own.push_back(ray::remote<&Actor::awaits>(some(kept.actors), some(kept.numbers)));
          break;
        case 7:
          if (below(random, 20) == 0) ray::kill(some(kept.actors));
          break;
        case 8:
          if (below(random, 4) == 0) own.clear();
          break;
      }
    } catch (const ray::Error&) {          // Timed out, cancelled, dead: as it should be.
    } catch (const std::runtime_error&) {  // From fails().
    }
  }
  for (const auto& ref : own) {
    const auto result = ray::try_get(ref, probes::kDeadline);
    if (!result.has_value() && result.error().code() == ray::ErrorCode::get_timeout) {
      throw std::logic_error("a call was lost");
    }
  }
}

bool all_ended(const Kept& kept) {
  const auto ended = [](const auto& ref) {
    const auto result = ray::try_get(ref, std::chrono::seconds(5));
    return result.has_value() || result.error().code() != ray::ErrorCode::get_timeout;
  };
  return std::all_of(kept.numbers.begin(), kept.numbers.end(), ended) &&
         std::all_of(kept.objects.begin(), kept.objects.end(), ended);
}

}  // namespace

TEST_CASE("a runtime ends after each step of what can be half done") {
  auto random = stress::seeded("steps");
  for (int round = 0; round < scaled(20); ++round) {
    for (int steps = 0; steps <= kSteps; ++steps) {
      Kept kept;
      auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{
          .num_cpus = static_cast<double>(1 + below(random, 2)), .num_gpus = 1});
      for (int step = 0; step < steps; ++step) take_step(step, *rt, kept);
      for (int i = below(random, 50); i > 0; --i) std::this_thread::yield();
      INFO("after " << steps << " steps");
      CHECK(ends_soon(std::move(rt)));
      CHECK(all_ended(kept));
    }
  }
  CHECK(Counted::none_left());
}

TEST_CASE("a runtime ends while other threads wait, cancel, call its actors and drop handles") {
  auto random = stress::seeded("meddlers");
  for (int round = 0; round < scaled(15); ++round) {
    Kept kept;
    auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 2});
    kept.objects.push_back(rt->put(Counted(1)));
    for (int i = below(random, 200); i >= 0; --i) submit_something(*rt, random, kept);
    for (int i = below(random, 3); i > 0; --i) kept.actors.push_back(rt->actor<Actor>());
    std::atomic<bool> stop{false};
    std::atomic<int> lost{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&kept, &stop, &lost, own = std::mt19937_64(random())] {
        try {
          meddle(own, kept, stop);
        } catch (const std::logic_error&) {
          ++lost;
        }
      });
    }
    // The last handles of actors are dropped by a thread of their own.
    std::thread dropper([handles = std::vector{rt->actor<Actor>(), rt->actor<Actor>()},
                         pause = below(random, 100)]() mutable {
      for (int i = 0; i < pause; ++i) std::this_thread::yield();
      handles.clear();
    });
    for (int i = below(random, 100); i > 0; --i) std::this_thread::yield();
    CHECK(ends_soon(std::move(rt)));
    stop = true;
    dropper.join();
    for (std::thread& thread : threads) thread.join();
    CHECK(lost == 0);
    CHECK(all_ended(kept));
  }
  CHECK(Counted::none_left());
}

TEST_CASE("threads submit to a runtime until just before it ends") {
  auto random = stress::seeded("submitters");
  for (int round = 0; round < scaled(100); ++round) {
    auto rt = std::make_unique<ray::Runtime>(ray::RuntimeOptions{.num_cpus = 2});
    std::vector<Kept> kept(3);
    std::vector<std::thread> threads;
    for (Kept& each : kept) {
      threads.emplace_back([&rt, &each, own = std::mt19937_64(random())]() mutable {
        for (int i = below(own, 200); i > 0; --i) submit_something(*rt, own, each);
        if (!each.numbers.empty()) {
          rt->wait(std::vector{each.numbers.back()}, {.timeout = std::chrono::microseconds(50)});
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(ends_soon(std::move(rt)));
    for (const Kept& each : kept) CHECK(all_ended(each));
  }
  CHECK(Counted::none_left());
}
