#include "support/catch.hpp"

#include "scheduler/task_queue.hpp"

using namespace ray::detail;

namespace {

Demand cpus(std::int64_t units) { return {units, {}}; }
Demand gpu() { return {10'000, {{"GPU", 10'000}}}; }

}  // namespace

TEST_CASE("a task waits as often as an object stands in its list", "[node]") {
  TaskQueue queue({40'000, {}});
  queue.wait(1, std::vector<std::uint64_t>{10, 10, 11});
  auto woken = queue.sealed(10);
  REQUIRE(woken.size() == 2);
  CHECK_FALSE(woken[1].complete);
  woken = queue.sealed(11);
  REQUIRE(woken.size() == 1);
  CHECK(woken[0].complete);
  CHECK_FALSE(queue.is_waiting(1));
}

TEST_CASE("a task that left and came back is not woken for its first stay", "[node]") {
  TaskQueue queue({40'000, {}});
  queue.wait(1, std::vector<std::uint64_t>{10});
  queue.forget(1);
  queue.wait(1, std::vector<std::uint64_t>{10, 11});
  const auto woken = queue.sealed(10);
  REQUIRE(woken.size() == 1);
  CHECK_FALSE(woken[0].complete);
}

TEST_CASE("the oldest that fits goes first, and nobody takes what an older one lacks", "[node]") {
  TaskQueue queue({40'000, {{"GPU", 10'000}}});
  queue.push(1, gpu());
  queue.push(2, gpu());
  queue.push(3, cpus(30'000));
  queue.push(4, cpus(10'000));
  CHECK(queue.pick(40'000) == 1);
  CHECK(queue.peek_plain(20'000) == std::nullopt);  // The third is short of CPUs.
  CHECK(queue.pick(20'000) == std::nullopt);
  queue.ledger().release(gpu());
  CHECK(queue.pick(20'000) == 2);
  CHECK(queue.pick(30'000) == 3);
  CHECK(queue.pick(10'000) == 4);
  CHECK(queue.ready() == 0);
}

TEST_CASE("the first of a line can be put before, and those that leave leave no hole", "[node]") {
  TaskQueue queue({10'000, {}});
  for (std::uint64_t task = 1; task <= 1000; ++task) queue.push(task, cpus(10'000));
  for (std::uint64_t task = 1; task < 1000; ++task) queue.forget(task);
  queue.push(2000, cpus(10'000), true);
  CHECK(queue.pick_plain(0) == 2000);
  CHECK(queue.pick_plain(0) == 1000);
  CHECK(queue.pick_plain(0) == std::nullopt);
}

TEST_CASE("nobody takes the part that there is of what an older one lacks", "[node]") {
  TaskQueue queue({40'000, {{"GPU", 20'000}}});
  REQUIRE(queue.ledger().try_reserve(gpu()));
  queue.push(1, {10'000, {{"GPU", 20'000}}});
  queue.push(2, gpu());
  CHECK(queue.pick(40'000) == std::nullopt);
  queue.push(3, cpus(20'000));
  CHECK(queue.pick(40'000) == 3);
  queue.ledger().release(gpu());
  CHECK(queue.pick(40'000) == 1);
}
