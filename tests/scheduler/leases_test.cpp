#include "support/catch.hpp"

#include "scheduler/leases.hpp"

#include <chrono>

using namespace ray::detail;
using namespace std::chrono_literals;

namespace {

LeasedTask plain_task(std::uint64_t id, std::uint64_t function = 1) {
  LeasedTask task;
  task.task = id;
  task.function = function;
  task.cpu = 10'000;
  task.plain = true;
  return task;
}

struct Pool {
  Leases leases{PoolLimits{20'000, 4, 32, 500us}};
  ClientId worker() {
    const ClientId client = *leases.start(PoolTime(1));
    leases.greet(client, 1, PoolTime(1));
    return client;
  }
};

}  // namespace

TEST_CASE("a worker takes its slot while it has a task, and lends it while it waits", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  CHECK(leases.idle() == 1);
  leases.send(one, plain_task(1));
  CHECK(leases.free_cpu() == 10'000);
  CHECK(leases.idle() == 0);
  CHECK(leases.began(one, 1, PoolTime(2)));
  CHECK(leases.block(one, 1));
  CHECK(leases.free_cpu() == 20'000);
  CHECK(leases.lively() == 0);
  LeasedTask nested = plain_task(2);
  nested.nested = true;
  leases.send(one, nested);
  CHECK(leases.free_cpu() == 10'000);
  CHECK(leases.began(one, 2, PoolTime(3)));
  CHECK(leases.done(one, 2, PoolTime(4)));
  CHECK(leases.free_cpu() == 20'000);
  CHECK(leases.unblock(one, 1));
  CHECK(leases.free_cpu() == 10'000);
  CHECK(leases.done(one, 1, PoolTime(5)));
  CHECK_FALSE(leases.done(one, 1, PoolTime(5)));
  CHECK(leases.free_cpu() == 20'000);
  CHECK(leases.idle() == 1);
}

TEST_CASE("as many tasks are sent ahead as take the time that there is", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(0ns) + 1ns);
  CHECK(leases.with_room(1) == one);  // Unknown: one.
  leases.send(one, plain_task(2));
  CHECK(leases.with_room(1) == std::nullopt);
  leases.done(one, 1, PoolTime(100us));  // 100 us each: five fit into 500.
  leases.began(one, 2, PoolTime(100us));
  for (std::uint64_t id = 3; leases.with_room(1); ++id) leases.send(one, plain_task(id));
  CHECK(leases.find(one)->sent.size() == 5);
  CHECK(leases.with_most_ahead() == one);
  leases.recall(one);
  CHECK(leases.with_most_ahead() == std::nullopt);
  CHECK(leases.give_back(one, 5, PoolTime(1ms)));
  CHECK_FALSE(leases.give_back(one, 2, PoolTime(1ms)));  // It has begun.
}

TEST_CASE("the slot of a worker that is gone is free", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(2));
  leases.send(one, plain_task(2));
  const auto gone = leases.end(one);
  REQUIRE(gone);
  CHECK(gone->stack.size() == 1);
  CHECK(gone->sent.size() == 1);
  CHECK(leases.free_cpu() == 20'000);
  CHECK(leases.lively() == 0);
  CHECK_FALSE(leases.end(one));
}

TEST_CASE("a coroutine that waits leaves its worker to others", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(2));
  CHECK(leases.suspend(one, 1, PoolTime(3)));
  CHECK(leases.idle() == 1);
  CHECK(leases.free_cpu() == 20'000);
  CHECK(leases.resume(one, 1));
  CHECK(leases.idle() == 0);
  CHECK(leases.free_cpu() == 10'000);
  CHECK(leases.done(one, 1, PoolTime(4)));
}

TEST_CASE("an actor whose only running call waits does nothing, whoever stands in line", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.give_to_actor(one, 99, 10'000, 1);
  CHECK(leases.free_cpu() == 10'000);
  CHECK(leases.lively() == 0);
  leases.send(one, plain_task(1));
  leases.send(one, plain_task(2));
  CHECK(leases.lively() == 1);
  leases.began(one, 1, PoolTime(2));
  CHECK(leases.block(one, 1));
  CHECK(leases.lively() == 0);
  CHECK(leases.free_cpu() == 20'000);
  CHECK(leases.unblock(one, 1));
  CHECK(leases.done(one, 1, PoolTime(3)));
  CHECK(leases.lively() == 1);
}

TEST_CASE("a worker that is an actor's, or is told to end, is not of the pool", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  const ClientId two = pool.worker();
  CHECK(leases.pool() == 2);
  leases.give_to_actor(one, 99, 10'000, 1);
  CHECK(leases.pool() == 1);
  leases.end_soon(one, PoolTime(2));
  CHECK(leases.pool() == 1);
  leases.end_soon(two, PoolTime(2));
  CHECK(leases.pool() == 0);
  leases.end(one);
  leases.end(two);
  CHECK(leases.pool() == 0);
}

TEST_CASE("how long a task took that waited says nothing", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(2));
  SECTION("in get") {
    leases.block(one, 1);
    leases.unblock(one, 1);
  }
  SECTION("in co_await") {
    leases.suspend(one, 1, PoolTime(3));
    leases.resume(one, 1);
  }
  leases.done(one, 1, PoolTime(1000));
  CHECK_FALSE(leases.mean(1));
}

TEST_CASE("what stands behind a blocked task takes no slot, and nothing more is sent there",
          "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(2));
  leases.send(one, plain_task(2));
  leases.recall(one);
  CHECK(leases.give_back(one, 2, PoolTime(3)));
  leases.recall_answered(one);
  CHECK_FALSE(leases.with_room(1));  // It is about to wait.
  leases.send(one, plain_task(3));
  CHECK(leases.free_cpu() == 10'000);
  leases.block(one, 1);
  CHECK(leases.free_cpu() == 20'000);
  CHECK(leases.lively() == 1);  // It will give that back.
}

TEST_CASE("a coroutine comes back to a worker that has nothing else to do", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(2));
  leases.suspend(one, 1, PoolTime(3));
  CHECK(leases.lively() == 0);
  CHECK(leases.newest_idle() == one);
  CHECK_FALSE(leases.newest_idle(true));
  CHECK_FALSE(leases.oldest_idle());
}

TEST_CASE("who waits for a lost object is sent nothing ahead", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(2));
  CHECK(leases.with_room(1) == one);
  leases.lend(one, true);
  CHECK_FALSE(leases.with_room(1));
  leases.lend(one, false);
  CHECK(leases.with_room(1) == one);
}

TEST_CASE("an actor's calls that are suspended do nothing, and let as many begin as may",
          "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const std::int32_t max_concurrency = GENERATE(0, 1, 2);
  const ClientId one = pool.worker();
  leases.give_to_actor(one, 99, 10'000, max_concurrency);
  leases.send(one, plain_task(1));
  leases.began(one, 1, PoolTime(2));
  CHECK(leases.lively() == 1);
  CHECK(leases.suspend(one, 1, PoolTime(3)));
  CHECK(leases.lively() == 0);
  CHECK(leases.free_cpu() == 20'000);
  leases.send(one, plain_task(2));
  CHECK(leases.lively() == (max_concurrency == 1 ? 0 : 1));
  if (max_concurrency != 1) {
    leases.began(one, 2, PoolTime(4));
    leases.block(one, 2);
    CHECK(leases.lively() == 0);
    CHECK(leases.done(one, 2, PoolTime(5)));
    CHECK(leases.lively() == 0);
    leases.send(one, plain_task(3));
    leases.began(one, 3, PoolTime(6));
    CHECK(leases.lively() == 1);
    leases.done(one, 3, PoolTime(7));
  }
  CHECK(leases.resume(one, 1));
  CHECK(leases.lively() == 1);
  leases.done(one, 1, PoolTime(8));
  if (max_concurrency != 1) CHECK(leases.lively() == 0);
}

TEST_CASE("a task that has waited says nothing of how long its function takes", "[node]") {
  Pool pool;
  Leases& leases = pool.leases;
  const ClientId one = pool.worker();
  for (const std::uint64_t task : {1, 2, 3}) {
    leases.send(one, plain_task(task, task));
    CHECK(leases.began(one, task, PoolTime(1ms)));
    if (task == 2) CHECK((leases.block(one, task) && leases.unblock(one, task)));
    if (task == 3) CHECK((leases.suspend(one, task, PoolTime(2ms)) && leases.resume(one, task)));
    CHECK(leases.done(one, task, PoolTime(4ms)));
  }
  CHECK(leases.mean(1) == PoolTime(3ms));
  CHECK_FALSE(leases.mean(2));
  CHECK_FALSE(leases.mean(3));
}
