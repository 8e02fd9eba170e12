// Random graphs of tasks from many threads, checked against a model.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

namespace {

using probes::kDeadline;
using probes::scaled;
using stress::below;
using Number = std::uint64_t;
using Ref = ray::ObjectRef<Number>;

struct ModelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

Number mix(Number a, Number b) { return a * 6364136223846793005ULL + b * 1442695040888963407ULL; }
Number fails(Number, Number) { throw ModelError("by the model"); }
Number mix_inside(const Ref& a, const Ref& b) { return mix(ray::get(a), ray::get(b)); }
Number mix_children(Number a, Number b) {
  auto left = ray::remote<mix>(a, b);
  auto right = ray::remote<mix>(b, a);
  return mix(ray::get(left), ray::get(right));
}
ray::Task<Number> mix_awaiting(Ref a, Ref b) { co_return mix(co_await a, co_await b); }
std::tuple<Number, Number> both_ways(Number a, Number b) { return {mix(a, b), mix(b, a)}; }

int busy_for(int microseconds) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::microseconds(microseconds);
  while (Clock::now() < until) {
  }
  return microseconds;
}
ray::Task<int> awaits_busy(int microseconds) {
  co_return co_await ray::remote<busy_for>(microseconds);
}
int waits_for_coroutine(int microseconds) {
  return ray::get(ray::remote<awaits_busy>(microseconds));
}

struct Mixer {
  Number call(Number a, Number b) { return mix(a, b); }
};

/// A node of the graph: what the model says, none where it fails, and the reference.
struct Node {
  std::optional<Number> expected;
  Ref ref;
};

/// A random graph. Free functions are used where `rt` has no twin with options.
std::vector<Node> random_graph(ray::Runtime& rt, std::mt19937_64& random, int size) {
  std::vector<Node> nodes;
  for (Number i = 0; i < 5; ++i) nodes.push_back({i, rt.put(i)});
  auto mixer = rt.actor<Mixer>();
  while (static_cast<int>(nodes.size()) < size) {
    const int reach = std::min(static_cast<int>(nodes.size()), 1 + below(random, 100));
    const Node a = nodes[nodes.size() - 1 - static_cast<std::size_t>(below(random, reach))];
    const Node b = nodes[nodes.size() - 1 - static_cast<std::size_t>(below(random, reach))];
    std::optional<Number> sum;
    if (a.expected && b.expected) sum = mix(*a.expected, *b.expected);
    std::optional<Number> reverse;
    if (sum) reverse = mix(*b.expected, *a.expected);
    switch (below(random, 100) == 0 ? 7 : below(random, 7)) {
      case 0:
      case 1:
        nodes.push_back({sum, rt.remote<mix>(a.ref, b.ref)});
        break;
      case 2:
        nodes.push_back({sum, rt.remote<mix_inside>(a.ref, b.ref)});
        break;
      case 3: {
        if (sum) sum = mix(*sum, *reverse);
        nodes.push_back({sum, rt.remote<mix_children>(a.ref, b.ref)});
        break;
      }
      case 4:
        nodes.push_back({sum, rt.remote<mix_awaiting>(a.ref, b.ref)});
        break;
      case 5: {
        auto [first, second] = rt.remote<both_ways>(a.ref, b.ref);
        nodes.push_back({sum, first});
        nodes.push_back({reverse, second});
        break;
      }
      case 6:
        nodes.push_back({sum, rt.remote<&Mixer::call>(mixer, a.ref, b.ref)});
        break;
      default:
        nodes.push_back({std::nullopt, rt.remote<fails>(a.ref, b.ref)});
        break;
    }
    // Some values are forgotten early, so that objects end at every point.
    if (below(random, 20) == 0) nodes.erase(nodes.begin());
  }
  return nodes;
}

int wrong_nodes(ray::Runtime& rt, const std::vector<Node>& nodes) {
  int wrong = 0;
  for (const Node& node : nodes) {
    try {
      const Number value = rt.get(node.ref, kDeadline);
      wrong += node.expected == value ? 0 : 1;
    } catch (const ModelError&) {
      wrong += node.expected ? 1 : 0;
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("random graphs give what a model says") {
  auto random = stress::seeded("random graphs");
  for (int round = 0; round < scaled(60); ++round) {
    ray::Runtime rt({.num_cpus = static_cast<double>(1 + below(random, 4))});
    const auto nodes = random_graph(rt, random, probes::kSanitized ? 300 : 1000);
    CHECK(wrong_nodes(rt, nodes) == 0);
  }
}

TEST_CASE("many outside threads submit to one runtime and get their answers") {
  auto random = stress::seeded("many submitters");
  ray::Runtime rt({.num_cpus = 2});
  for (int round = 0; round < scaled(10); ++round) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, seed = random()] {
        std::mt19937_64 own(seed);
        wrong += wrong_nodes(rt, random_graph(rt, own, probes::kSanitized ? 100 : 500));
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("threads that come and go submit and leave their references behind") {
  ray::Runtime rt({.num_cpus = 2});
  Number sum = 0;
  for (int round = 0; round < scaled(200); ++round) {
    std::vector<Ref> refs;
    std::thread([&] {
      for (Number i = 0; i < 20; ++i) refs.push_back(rt.remote<mix>(i, Number{0}));
    }).join();
    for (const Ref& ref : refs) sum += rt.get(ref, kDeadline);
  }
  CHECK(sum == 190ULL * 6364136223846793005ULL * static_cast<Number>(scaled(200)));
}

TEST_CASE("a few threads wait for what others submit") {
  ray::Runtime rt({.num_cpus = 2});
  for (int round = 0; round < scaled(50); ++round) {
    const auto ref = rt.put(Number{3});
    std::vector<Ref> chain(64);
    chain[0] = ref;
    for (std::size_t i = 1; i < chain.size(); ++i) chain[i] = rt.remote<mix>(chain[i - 1], ref);
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        rt.wait(chain, {.num_returns = 10 * (t + 1)});
        rt.get(chain[63 - t], kDeadline);
        ++done;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(done == 6);
  }
}

// Under AddressSanitizer a search for circles that looks at what a coroutine has let go of fails
// within 350 rounds.
TEST_CASE("tasks look for circles through coroutines that go on meanwhile") {
  auto random = stress::seeded("circles");
  ray::Runtime rt({.num_cpus = 3});
  for (int round = 0; round < 1000; ++round) {
    int expected = 0;
    std::vector<ray::ObjectRef<int>> refs;
    for (int i = 0; i < 20; ++i) {
      // About as long as a task polls before it looks for circles and sleeps.
      const int microseconds = below(random, 60);
      expected += microseconds;
      refs.push_back(rt.remote<waits_for_coroutine>(microseconds));
    }
    REQUIRE(rt.wait(refs, {.num_returns = refs.size(), .timeout = kDeadline}).ready.size() == 20);
    int sum = 0;
    for (int value : rt.get(refs)) sum += value;
    CHECK(sum == expected);
  }
}
