// ActorPool: work spread over a fixed set of actors.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace actor_pool_test {

namespace {

struct Worker {
  int doubled(int x) { return 2 * x; }
  int fails_on_three(int x) {
    if (x == 3) throw std::domain_error("three");
    return x;
  }
  int held_if_zero(int x);
};

probes::Gate gate;
int Worker::held_if_zero(int x) {
  if (x == 0) gate.pass();
  return x;
}

std::vector<ray::ActorHandle<Worker>> workers(ray::Runtime& rt, int count) {
  std::vector<ray::ActorHandle<Worker>> handles;
  for (int i = 0; i < count; ++i) handles.push_back(rt.actor<Worker>());
  return handles;
}

const std::vector<int> kInputs{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

}  // namespace

TEST_CASE("map gives results in the order of the inputs") {
  ray::Runtime rt({.num_cpus = 2});
  ray::ActorPool<Worker> pool(workers(rt, 3));
  CHECK(pool.map<&Worker::doubled>(kInputs) == std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18});
  CHECK(pool.map<&Worker::doubled>(std::vector<int>{}).empty());
  CHECK(pool.map<&Worker::doubled>(std::vector<int>{4}) == std::vector<int>{8});
}

TEST_CASE("map_unordered gives every result once") {
  ray::Runtime rt({.num_cpus = 2});
  ray::ActorPool<Worker> pool(workers(rt, 3));
  auto results = pool.map_unordered<&Worker::doubled>(kInputs);
  std::sort(results.begin(), results.end());
  CHECK(results == std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18});
}

TEST_CASE("get_next gives results in the order of submission, get_next_unordered as they come") {
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(gate);
  ray::ActorPool<Worker> pool(workers(rt, 2));
  CHECK_FALSE(pool.has_next());
  for (int i = 0; i < 5; ++i) pool.submit<&Worker::held_if_zero>(i);
  CHECK(pool.has_next());
  CHECK(pool.get_next_unordered<&Worker::held_if_zero>() != 0);
  gate.open();
  std::vector<int> rest;
  while (pool.has_next()) rest.push_back(pool.get_next_unordered<&Worker::held_if_zero>());
  CHECK(rest.size() == 4);

  for (int i = 0; i < 5; ++i) pool.submit<&Worker::doubled>(i);
  for (int i = 0; i < 5; ++i) CHECK(pool.get_next<&Worker::doubled>() == 2 * i);
  CHECK_FALSE(pool.has_next());
}

TEST_CASE("a pool tells whether an actor is free, and gives and takes actors") {
  ray::Runtime rt({.num_cpus = 1});
  ray::ActorPool<Worker> pool(workers(rt, 1));
  CHECK(pool.has_free());
  auto taken = pool.pop_idle();
  REQUIRE(taken.has_value());
  CHECK_FALSE(pool.has_free());
  CHECK_FALSE(pool.pop_idle().has_value());
  pool.push(*taken);
  CHECK(pool.has_free());
  CHECK(pool.map<&Worker::doubled>(std::vector<int>{1}) == std::vector<int>{2});
}

TEST_CASE("a method that throws comes out of the pool, which stays usable") {
  ray::Runtime rt({.num_cpus = 1});
  ray::ActorPool<Worker> pool(workers(rt, 2));
  CHECK_THROWS_AS(pool.map<&Worker::fails_on_three>(kInputs), std::domain_error);
  CHECK(pool.map<&Worker::doubled>(std::vector<int>{1, 2}) == std::vector<int>{2, 4});
}

TEST_CASE("many more inputs than actors all get their turn") {
  ray::Runtime rt({.num_cpus = 2});
  ray::ActorPool<Worker> pool(workers(rt, 2));
  std::vector<int> inputs(2000, 1);
  int sum = 0;
  for (int x : pool.map<&Worker::doubled>(inputs)) sum += x;
  CHECK(sum == 4000);
}

TEST_CASE("a dead actor leaves the pool, and the others do the work") {
  ray::Runtime rt({.num_cpus = 1});
  const auto handles = workers(rt, 3);
  ray::ActorPool<Worker> pool(handles);
  ray::kill(handles[0]);
  CHECK(pool.map<&Worker::doubled>(kInputs).size() == kInputs.size());
  ray::kill(handles[1]);
  CHECK(pool.has_free());
  CHECK(pool.pop_idle() == handles[2]);
  CHECK_FALSE(pool.has_free());
  CHECK_FALSE(pool.pop_idle().has_value());
}

TEST_CASE("of an actor that dies at work only the call fails that it did not end") {
  static probes::Gate inside, out;
  struct Mortal {
    int work(int x) {
      if (x != 0) return x;
      inside.open();
      out.pass();
      return x;
    }
  };
  ray::Runtime rt({.num_cpus = 2});
  const probes::OpenAtExit guard(out);
  const auto first = rt.actor<Mortal>(), second = rt.actor<Mortal>();
  ray::ActorPool<Mortal> pool({first, second});
  for (int i = 0; i < 10; ++i) pool.submit<&Mortal::work>(i);
  inside.pass();
  ray::kill(first);
  CHECK_THROWS_AS(pool.get_next<&Mortal::work>(), ray::ActorDiedError);
  for (int i = 1; i < 10; ++i) CHECK(pool.get_next<&Mortal::work>() == i);
  CHECK_FALSE(pool.has_next());
}

TEST_CASE(
    "a pool whose actors are all dead fails each call with ActorDiedError, and takes others") {
  ray::Runtime rt({.num_cpus = 1});
  const auto handles = workers(rt, 2);
  ray::ActorPool<Worker> pool(handles);
  for (const auto& handle : handles) ray::kill(handle);
  CHECK_THROWS_AS(pool.map<&Worker::doubled>(kInputs), ray::ActorDiedError);
  CHECK_FALSE(pool.has_next());
  for (int i = 0; i < 3; ++i) pool.submit<&Worker::doubled>(i);
  CHECK_THROWS_AS(pool.get_next<int>(), ray::ActorDiedError);
  CHECK_THROWS_AS(pool.get_next_unordered<int>(), ray::ActorDiedError);
  CHECK(pool.has_next());
  pool.push(rt.actor<Worker>());
  CHECK(pool.get_next<int>() == 4);
  CHECK_FALSE(pool.has_next());
}

TEST_CASE("an actor that starts again stays in the pool") {
  ray::Runtime rt({.num_cpus = 1});
  const auto actor = rt.actor_with<Worker>({.max_restarts = 1})();
  ray::ActorPool<Worker> pool({actor});
  CHECK(pool.map<&Worker::doubled>(std::vector<int>{1}) == std::vector<int>{2});
  ray::kill(actor, {.no_restart = false});
  CHECK(pool.map<&Worker::doubled>(std::vector<int>{1, 2}) == std::vector<int>{2, 4});
}

TEST_CASE("a pool without actors keeps what is submitted until it gets one") {
  ray::Runtime rt({.num_cpus = 1});
  ray::ActorPool<Worker> pool({});
  pool.submit<&Worker::doubled>(2);
  CHECK_THROWS_AS(pool.get_next<int>(), ray::InvalidArgumentError);
  pool.push(rt.actor<Worker>());
  CHECK(pool.get_next<int>() == 4);
}

}  // namespace actor_pool_test
