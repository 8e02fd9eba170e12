// How long objects live, and that nothing is copied on the way.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lifetime_test {

namespace {

using probes::Counted;

template <class Tag>
int value_of(const Counted<Tag>& x) {
  return x.value();
}
template <class Tag>
int take(Counted<Tag> x) {
  return x.value();
}
template <class Tag>
Counted<Tag> make(int value) {
  return Counted<Tag>(value);
}

// Each test counts a type of its own.
struct PutTag {};
struct ArgTag {};
struct ChainTag {};
struct ResultTag {};
struct ByValueTag {};
struct DropTag {};
struct TempTag {};
struct NestTag {};
struct ReturnTag {};
struct ActorTag {};
struct FlightTag {};
struct FailTag {};
struct EndTag {};
struct MapTag {};
struct ManyTag {};
struct DirectTag {};

template <class Tag>
using Ref = ray::ObjectRef<Counted<Tag>>;

/// Whether so many are alive. In processes an object that nobody looks at may be nothing but bytes.
template <class Tag>
bool alive(int count) {
  return Counted<Tag>::alive() == count ||
         (probes::in_processes() && Counted<Tag>::alive() < count);
}

}  // namespace

TEST_CASE("put and get copy nothing") {
  ray::Runtime rt({.num_cpus = 1});
  {
    const auto ref = rt.put(Counted<PutTag>(5));
    CHECK(rt.get(ref).value() == 5);
    CHECK(alive<PutTag>(1));
  }
  CHECK(Counted<PutTag>::copies() == 0);
  CHECK(Counted<PutTag>::alive() == 0);
}

TEST_CASE("a const reference parameter sees the stored object itself") {
  ray::Runtime rt({.num_cpus = 2});
  {
    const auto ref = rt.put(Counted<ArgTag>(6));
    std::vector<ray::ObjectRef<int>> results;
    for (int i = 0; i < 50; ++i) results.push_back(rt.remote<value_of<ArgTag>>(ref));
    for (int value : rt.get(results)) CHECK(value == 6);
    CHECK(rt.get(rt.remote<value_of<ArgTag>>(Counted<ArgTag>(7))) == 7);
  }
  CHECK(Counted<ArgTag>::copies() == 0);
  CHECK(Counted<ArgTag>::none_left());
}

TEST_CASE("values pass from task to task without a copy") {
  constexpr auto next = [](const Counted<ChainTag>& x) { return Counted<ChainTag>(x.value() + 1); };
  ray::Runtime rt({.num_cpus = 2});
  {
    auto ref = rt.remote<make<ChainTag>>(0);
    for (int i = 0; i < 20; ++i) ref = rt.remote<next>(ref);
    CHECK(rt.get(ref).value() == 20);
  }
  CHECK(Counted<ChainTag>::copies() == 0);
  CHECK(Counted<ChainTag>::none_left());
}

TEST_CASE("the result of a task is moved out by get of its last reference") {
  ray::Runtime rt({.num_cpus = 1});
  {
    const Counted<ResultTag> mine = rt.get(rt.remote<make<ResultTag>>(3));
    CHECK(mine.value() == 3);
  }
  CHECK(Counted<ResultTag>::copies() == 0);
  CHECK(Counted<ResultTag>::none_left());
}

TEST_CASE("a parameter by value gets a copy of its own, and the stored object stays as it is") {
  ray::Runtime rt({.num_cpus = 1});
  {
    const auto ref = rt.put(Counted<ByValueTag>(4));
    CHECK(rt.get(rt.remote<take<ByValueTag>>(ref)) == 4);
    CHECK(Counted<ByValueTag>::copies() <= 1);  // What came from another process needs none.
    CHECK(rt.get(ref).value() == 4);
  }
  CHECK(Counted<ByValueTag>::none_left());
}

TEST_CASE("a value given directly to a parameter by value is moved all the way") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK(rt.get(rt.remote<take<DirectTag>>(Counted<DirectTag>(9))) == 9);
  CHECK(Counted<DirectTag>::copies() == 0);
  CHECK(Counted<DirectTag>::none_left());
}

TEST_CASE("an object goes with its last reference") {
  ray::Runtime rt({.num_cpus = 1});
  auto a = rt.put(Counted<DropTag>(1));
  auto b = a;
  a = {};
  CHECK(alive<DropTag>(1));
  b = rt.put(Counted<DropTag>(2));
  CHECK(alive<DropTag>(1));
  b = {};
  CHECK(Counted<DropTag>::none_left());
}

TEST_CASE("the value of a temporary reference outlives the reference") {
  ray::Runtime rt({.num_cpus = 1});
  const auto& kept = rt.get(rt.put(Counted<TempTag>(8)));
  CHECK(kept.value() == 8);
  CHECK(alive<TempTag>(1));
}

TEST_CASE("references inside objects count, to any depth") {
  using Inner = std::vector<Ref<NestTag>>;
  using Outer = std::map<std::string, ray::ObjectRef<Inner>>;
  constexpr auto sum = [](const Outer& outer) {
    int total = 0;
    for (const auto& [name, inner] : outer) {
      for (const auto& ref : ray::get(inner)) total += ray::get(ref).value();
    }
    return total;
  };
  ray::Runtime rt({.num_cpus = 2});
  ray::ObjectRef<Outer> outer;
  {
    Inner inner;
    for (int i = 1; i <= 4; ++i) inner.push_back(rt.put(Counted<NestTag>(i)));
    outer = rt.put(Outer{{"a", rt.put(inner)}, {"b", rt.put(std::move(inner))}});
  }
  CHECK(alive<NestTag>(4));
  CHECK(rt.get(rt.remote<sum>(outer)) == 20);
  outer = {};
  CHECK(Counted<NestTag>::none_left());
  CHECK(Counted<NestTag>::copies() == 0);
}

TEST_CASE("a task returns references it made, and they live on") {
  constexpr auto outer = [](int n) {
    std::vector<Ref<ReturnTag>> refs;
    for (int i = 0; i < n; ++i) refs.push_back(ray::put(Counted<ReturnTag>(i)));
    refs.push_back(ray::remote<make<ReturnTag>>(n));
    return refs;
  };
  ray::Runtime rt({.num_cpus = 1});
  auto ref = rt.remote<outer>(3);
  CHECK(rt.get(rt.get(ref).back()).value() == 3);
  CHECK(alive<ReturnTag>(4));
  const auto one = rt.get(ref)[1];
  ref = {};
  CHECK(probes::eventually([] { return alive<ReturnTag>(1); }));
  CHECK(rt.get(one).value() == 1);
}

TEST_CASE("a reference in the state of an actor counts until the actor lets go") {
  struct Keeper {
    std::vector<Ref<ActorTag>> kept;
    void keep(Ref<ActorTag> ref) { kept.push_back(std::move(ref)); }
    int first() { return ray::get(kept.front()).value(); }
    void drop() { kept.clear(); }
  };
  ray::Runtime rt({.num_cpus = 1});
  auto keeper = rt.actor<Keeper>();
  rt.get(rt.remote<&Keeper::keep>(keeper, rt.put(Counted<ActorTag>(5))));
  CHECK(rt.get(rt.remote<&Keeper::first>(keeper)) == 5);
  CHECK(alive<ActorTag>(1));
  rt.get(rt.remote<&Keeper::drop>(keeper));
  CHECK(Counted<ActorTag>::none_left());
  rt.get(rt.remote<&Keeper::keep>(keeper, rt.put(Counted<ActorTag>(6))));
  keeper = {};
  CHECK(Counted<ActorTag>::none_left());
}

TEST_CASE("arguments in flight are kept although the caller dropped its references") {
  static probes::Gate gate;
  constexpr auto hold = [] {
    gate.pass();
    return 0;
  };
  constexpr auto second = [](int, const Counted<FlightTag>& x) { return x.value(); };
  ray::Runtime rt({.num_cpus = 1});
  const probes::OpenAtExit guard(gate);
  ray::ObjectRef<int> result;
  {
    auto held = rt.remote<hold>();
    result = rt.remote<second>(held, rt.put(Counted<FlightTag>(7)));
  }
  CHECK(alive<FlightTag>(1));
  gate.open();
  CHECK(rt.get(result) == 7);
  CHECK(Counted<FlightTag>::none_left());
}

TEST_CASE("arguments of a task that failed or was never run are freed") {
  constexpr auto fails = [](const Counted<FailTag>&) -> int { throw std::runtime_error("no"); };
  constexpr auto after = [](int n, const Counted<FailTag>&) { return n; };
  ray::Runtime rt({.num_cpus = 1});
  auto bad = rt.remote<fails>(rt.put(Counted<FailTag>(1)));
  auto worse = rt.remote<after>(bad, rt.put(Counted<FailTag>(2)));
  CHECK_THROWS(rt.get(worse));
  CHECK(Counted<FailTag>::none_left());
}

TEST_CASE("results nobody waits for are freed") {
  ray::Runtime rt({.num_cpus = 2});
  for (int i = 0; i < 1000; ++i) rt.remote<make<ManyTag>>(i);
  rt.get(rt.remote<make<ManyTag>>(1));
  CHECK(Counted<ManyTag>::none_left());
  CHECK(Counted<ManyTag>::copies() == 0);
}

TEST_CASE("everything is freed after the end of the runtime and of the references") {
  std::vector<Ref<EndTag>> refs;
  {
    ray::Runtime rt({.num_cpus = 2});
    for (int i = 0; i < 100; ++i) {
      refs.push_back(i % 2 == 0 ? rt.put(Counted<EndTag>(i)) : rt.remote<make<EndTag>>(i));
    }
  }
  refs.clear();
  CHECK(Counted<EndTag>::none_left());
}

TEST_CASE("get of a range copies each value once") {
  ray::Runtime rt({.num_cpus = 1});
  {
    const std::vector refs{rt.put(Counted<MapTag>(1)), rt.put(Counted<MapTag>(2))};
    const std::vector<Counted<MapTag>> values = rt.get(refs);
    CHECK(values[1].value() == 2);
  }
  CHECK(Counted<MapTag>::copies() <= 2);
  CHECK(Counted<MapTag>::none_left());
}

}  // namespace lifetime_test
