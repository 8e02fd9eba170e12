// ActorPool: work spread over a fixed set of actors.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

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
