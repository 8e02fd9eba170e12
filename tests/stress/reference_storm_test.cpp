// The ledger of references: whatever way they take, each object is freed once, after the last.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"
#include "stress/seed.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using probes::kDeadline;
using probes::scaled;
using stress::below;

struct LedgerTag;
using Counted = probes::Counted<LedgerTag>;
using Ref = ray::ObjectRef<Counted>;

/// References at several depths of containers.
struct Nest {
  Ref one;
  std::vector<Ref> some;
  std::map<int, ray::ObjectRef<std::vector<Ref>>> deeper;
};

Counted make(int n) { return Counted(n); }
int value_of(const Counted& x) { return x.value(); }
int read_inside(Ref ref) { return ray::get(ref).value(); }
Ref pass_on(Ref ref) { return ref; }
std::vector<Ref> make_some(int n) {
  std::vector<Ref> refs;
  for (int i = 0; i < n; ++i) {
    refs.push_back(i % 2 == 0 ? ray::put(Counted(i)) : ray::remote<make>(i));
  }
  return refs;
}
int read_nest(const Nest& nest) {
  int sum = ray::get(nest.one).value();
  for (const Ref& ref : nest.some) sum += ray::get(ref).value();
  for (const auto& [key, refs] : nest.deeper) {
    for (const Ref& ref : ray::get(refs)) sum += ray::get(ref).value();
  }
  return sum;
}
Nest make_nest(Ref ref) {
  return Nest{ref, {ref, ref}, {{1, ray::put(std::vector<Ref>{ref, ray::put(Counted(5))})}}};
}
ray::Generator<Counted> stream(int n) {
  for (int i = 0; i < n; ++i) co_yield Counted(i);
}
ray::Task<int> awaits(Ref ref) { co_return (co_await ref).value(); }

class Keeper {
public:
  void keep(Ref ref) { kept_.push_back(std::move(ref)); }
  void drop(int n) {
    while (n-- > 0 && !kept_.empty()) kept_.pop_back();
  }
  Ref give() const { return kept_.empty() ? Ref() : kept_.back(); }

private:
  std::vector<Ref> kept_;
};

/// One random walk of references through everything that can hold them.
void walk(ray::Runtime& rt, std::mt19937_64& random, int steps) {
  std::vector<Ref> mine{rt.put(Counted(1))};
  std::vector<ray::ObjectRef<int>> reads;
  auto keeper = rt.actor<Keeper>();
  const auto some = [&] {
    return mine[static_cast<std::size_t>(below(random, static_cast<int>(mine.size())))];
  };
  for (int i = 0; i < steps; ++i) {
    switch (below(random, 12)) {
      case 0:
        mine.push_back(rt.put(Counted(i)));
        break;
      case 1:
        mine.push_back(rt.remote<make>(i));
        break;
      case 2:
        reads.push_back(rt.remote<value_of>(some()));
        break;
      case 3:
        reads.push_back(rt.remote<read_inside>(some()));
        break;
      case 4:
        mine.push_back(rt.get(rt.remote<pass_on>(some())));
        break;
      case 5:
        reads.push_back(rt.remote<read_nest>(rt.remote<make_nest>(some())));
        break;
      case 6:
        reads.push_back(rt.remote<awaits>(some()));
        break;
      case 7: {
        auto refs = rt.get(rt.remote<make_some>(below(random, 5)));
        mine.insert(mine.end(), refs.begin(), refs.end());
        break;
      }
      case 8:
        rt.remote<&Keeper::keep>(keeper, some());
        break;
      case 9:
        rt.remote<&Keeper::drop>(keeper, below(random, 3));
        break;
      case 10: {
        auto items = rt.remote<stream>(10);
        for (int k = below(random, 5); k > 0; --k) mine.push_back(*items.next());
        break;
      }
      default:
        while (mine.size() > 10) mine.erase(mine.begin());
        break;
    }
    if (reads.size() > 50) reads.clear();
  }
  for (const auto& ref : reads) rt.get(ref, kDeadline);
}

}  // namespace

TEST_CASE("after random walks of references every object is freed, once") {
  auto random = stress::seeded("reference ledger");
  ray::Runtime rt({.num_cpus = 2});
  for (int round = 0; round < scaled(40); ++round) {
    walk(rt, random, 300);
    REQUIRE(Counted::none_left());
  }
}

TEST_CASE("walks in several threads at once leave nothing behind") {
  auto random = stress::seeded("reference ledgers");
  {
    ray::Runtime rt({.num_cpus = 2});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, seed = random()] {
        std::mt19937_64 own(seed);
        walk(rt, own, scaled(2000));
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(Counted::none_left());
  }
}

TEST_CASE("one reference is copied, moved and dropped by many threads at once") {
  ray::Runtime rt({.num_cpus = 2});
  for (int round = 0; round < scaled(100); ++round) {
    std::atomic<int> right{0};
    auto ref = std::make_unique<Ref>(rt.remote<make>(7));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&rt, &right, copy = *ref] {
        std::vector<Ref> copies;
        for (int i = 0; i < 200; ++i) copies.push_back(i % 2 == 0 ? copy : copies.back());
        right += rt.get(copies.back(), kDeadline).value() == 7 ? 1 : 0;
      });
    }
    ref.reset();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    CHECK(right == 4);
    REQUIRE(Counted::none_left());
  }
}

TEST_CASE("get of the last reference moves out, however the others go") {
  ray::Runtime rt({.num_cpus = 2});
  for (int i = 0; i < scaled(2000); ++i) {
    auto ref = rt.remote<make>(i);
    auto reader = rt.remote<value_of>(ref);
    const Counted mine = rt.get(std::move(ref));
    REQUIRE(mine.value() == i);
    REQUIRE(rt.get(reader) == i);
  }
  CHECK(Counted::none_left());
}
