// Coroutines that throw, and many threads that look at one exception while others let go of it.
// Under ThreadSanitizer it needs support/tsan.supp, and shows within seconds (not in every run)
// whether that is in use.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

int same(int x) { return x; }

ray::Task<int> throws(int n) {
  const int x = co_await ray::remote<same>(n);
  throw std::runtime_error("number " + std::to_string(x));
}

ray::Task<int> passes_on(ray::ObjectRef<int> ref) { co_return co_await ref; }

ray::Generator<int> yields_then_throws(int n) {
  co_yield n;
  throw std::runtime_error("number " + std::to_string(n));
}

/// Whether `ref` failed with the text of number `n`. The exception outlives the reference.
bool failed_with(ray::ObjectRef<int> ref, int n) {
  try {
    ray::get(std::move(ref));
  } catch (const std::runtime_error& error) {
    return error.what() == "number " + std::to_string(n);
  }
  return false;
}

}  // namespace

TEST_CASE("exceptions of coroutines are fetched by many threads and freed by the last") {
  const ray::Runtime rt({.num_cpus = 2});
  std::atomic<int> right{0};
  const int rounds = probes::kSanitized ? 2000 : 300;
  constexpr int kThreads = 4;
  for (int round = 0; round < rounds; ++round) {
    auto first = ray::remote<throws>(round);
    auto second = ray::remote<passes_on>(first);
    auto stream = ray::remote<yields_then_throws>(round);
    stream.next();
    auto third = *stream.next();
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&right, first, second, third, round]() mutable {
        for (auto* ref : {&first, &second, &third}) right += failed_with(std::move(*ref), round);
      });
    }
    first = {};
    second = {};
    third = {};
    for (std::thread& thread : threads) thread.join();
  }
  CHECK(right == rounds * kThreads * 3);
}
