// The node by hand: circles of waits, through coroutines and the lines of actors; and what is
// promised.
#include "support/catch.hpp"

#include "runtime/node_probe.hpp"

#include <chrono>

using namespace probes;
using Catch::Matchers::ContainsSubstring;
using ray::ErrorCode;

namespace {

TaskSpec wide(std::int32_t max_concurrency) {
  TaskSpec spec = creation(0);
  spec.creates->max_concurrency = max_concurrency;
  return spec;
}

/// The next task that is sent to anybody begins; its worker.
ClientId begin_next(NodeProbe& probe, std::uint64_t task) {
  const auto run = probe.run();
  REQUIRE(run);
  REQUIRE(run->second.task->id() == task);
  probe.began(run->first, task);
  return run->first;
}

}  // namespace

TEST_CASE("of two coroutines that await each other the one that closes the circle is told",
          "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto a = probe.submit(plain(0));
  const ClientId at_a = begin_next(probe, a);
  const auto b = probe.submit(plain(1));
  const ClientId at_b = begin_next(probe, b);
  probe.say(at_a, message::Suspended{a, true, b});
  CHECK_FALSE(probe.next<message::Deadlock>(at_a));
  probe.say(at_b, message::Suspended{b, true, a});
  const auto deadlock = probe.next<message::Deadlock>(at_b);
  REQUIRE(deadlock);
  CHECK(deadlock->why == "task 't1' waits for 't0', which waits for it in turn; break the circle");
  // It goes on now, and who waits for it is in no circle.
  const auto c = probe.submit(plain(2));
  const ClientId at_c = begin_next(probe, c);
  probe.say(at_c, message::Suspended{c, true, a});
  CHECK_FALSE(probe.next<message::Deadlock>(at_c));
}

TEST_CASE("one that waits for tasks in a circle is in none", "[node]") {
  NodeProbe probe(small_node(3, 3));
  probe.greet();
  std::vector<std::uint64_t> tasks;
  std::vector<ClientId> workers;
  for (std::uint32_t i = 0; i < 3; ++i) {
    tasks.push_back(probe.submit(plain(i)));
    workers.push_back(begin_next(probe, tasks[i]));
  }
  probe.say(workers[2], waits_for(tasks[2], {tasks[0]}, false));
  probe.say(workers[0], waits_for(tasks[0], {tasks[1]}, false));
  probe.say(workers[1], waits_for(tasks[1], {tasks[0]}, false));
  CHECK_FALSE(probe.next<message::Deadlock>(workers[2]));
  CHECK_FALSE(probe.next<message::Deadlock>(workers[0]));
  CHECK(probe.next<message::Deadlock>(workers[1]));
}

TEST_CASE("a call in line waits for any of those that have begun in its group", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto actor = living_actor(probe, 0, wide(2));
  const auto one = probe.submit(call(1, actor));
  const ClientId process = begin_next(probe, one);
  const auto inner_of_one = probe.submit(call(0, actor, {}, one), process);
  probe.run();
  const auto other = probe.submit(call(2, actor));
  begin_next(probe, other);
  probe.say(process, waits_for(one, {inner_of_one}, false));
  CHECK_FALSE(probe.next<message::Deadlock>(process));  // The other one may end.
  const auto inner_of_other = probe.submit(call(0, actor, {}, other), process);
  probe.say(process, waits_for(other, {inner_of_other}, false));
  const auto deadlock = probe.next<message::Deadlock>(process);
  REQUIRE(deadlock);
  CHECK(deadlock->task == other);
}

TEST_CASE("suspended calls keep others out only where so many have begun as may", "[node]") {
  NodeProbe probe;
  probe.greet();
  const std::int32_t max_concurrency = GENERATE(0, 1);
  const auto actor = living_actor(probe, 0, wide(max_concurrency));
  const auto asks = probe.submit(call(1, actor));
  const ClientId process = begin_next(probe, asks);
  const auto inner = probe.submit(call(0, actor, {}, asks), process);
  probe.say(process, message::Suspended{asks, true, inner});
  CHECK(probe.next<message::Deadlock>(process).has_value() == (max_concurrency == 1));
}

TEST_CASE("a call that comes into line, or a coroutine that stands there, may close a circle",
          "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto actor = living_actor(probe, 0, creation(0));
  const auto slow = probe.submit(plain(1));
  const ClientId at_slow = begin_next(probe, slow);
  SECTION("a call") {
    const auto late = probe.submit(call(2, actor, {slow}));
    const auto asks = probe.submit(call(0, actor, {}, kRoot + 1));
    const ClientId process = begin_next(probe, asks);
    probe.say(process, waits_for(asks, {late}, false));
    CHECK_FALSE(probe.next<message::Deadlock>(process));
    probe.done(at_slow, slow, inlined("x"));
    CHECK(probe.next<message::Deadlock>(process));
  }
  SECTION("a coroutine") {
    const auto awaits = probe.submit(call(2, actor));
    const ClientId process = begin_next(probe, awaits);
    probe.say(process, message::Suspended{awaits, true, slow});
    const auto asks = probe.submit(call(3, actor));
    begin_next(probe, asks);
    probe.say(process, waits_for(asks, {awaits}, false));
    CHECK_FALSE(probe.next<message::Deadlock>(process));
    probe.done(at_slow, slow, inlined("x"));
    probe.say(process, message::Suspended{awaits, true, 0});
    const auto deadlock = probe.next<message::Deadlock>(process);
    REQUIRE(deadlock);
    CHECK(deadlock->task == asks);
  }
}

TEST_CASE("a coroutine that holds what is asked for is told when nothing else goes on", "[node]") {
  NodeLimits limits = small_node(2, 2);
  limits.total.others["GPU"] = 10'000;
  NodeProbe probe(limits);
  probe.greet();
  TaskSpec spec = plain(0);
  spec.demand.others["GPU"] = 10'000;
  const auto holds = probe.submit(spec);
  const ClientId worker = begin_next(probe, holds);
  const auto other = probe.submit(plain(1));
  const ClientId at_other = begin_next(probe, other);
  spec.parent = holds;
  const auto asks = probe.submit(spec, worker);
  probe.say(worker, message::Suspended{holds, true, asks});
  CHECK_FALSE(probe.next<message::Deadlock>(worker));
  probe.done(at_other, other, inlined("x"));
  const auto deadlock = probe.next<message::Deadlock>(worker);
  REQUIRE(deadlock);
  CHECK(deadlock->task == holds);
  CHECK_THAT(deadlock->why, ContainsSubstring("ask for resources"));
  CHECK_FALSE(probe.next<message::Deadlock>(worker));  // Once.
  probe.say(worker, message::Suspended{holds, false});
  probe.done(worker, holds, failed("deadlock"));
  begin_next(probe, asks);
}

TEST_CASE("an actor for which no process is left does not wait for ever", "[node]") {
  NodeLimits limits = small_node(2, 2);
  limits.workers_max = 2;
  NodeProbe probe(limits);
  probe.greet();
  const auto first = probe.submit(plain(0));
  const ClientId one = begin_next(probe, first);
  const auto second = probe.submit(plain(1));
  const ClientId two = begin_next(probe, second);
  TaskSpec spec = creation(0);
  spec.parent = first;
  const auto actor = probe.submit(spec, one);
  const auto asks = probe.submit(call(1, actor, {}, first), one);
  probe.say(one, message::Suspended{first, true, asks});
  CHECK_FALSE(probe.run());
  CHECK_FALSE(probe.next<message::Deadlock>(one));  // The other one may end.
  probe.say(two, message::Suspended{second, true, first});
  const auto deadlock = probe.next<message::Deadlock>(two);
  REQUIRE(deadlock);
  CHECK_THAT(deadlock->why, ContainsSubstring("an actor needs one of its own"));
  probe.say(two, message::Suspended{second, false});
  probe.done(two, second, failed("deadlock"));
  const auto run = probe.run();
  REQUIRE(run);
  CHECK(run->first == two);
  CHECK(run->second.task->id() == actor);
}

TEST_CASE("a generator that waits for the driver may go on at any time", "[node]") {
  NodeLimits limits = small_node(2, 2);
  limits.total.others["GPU"] = 10'000;
  NodeProbe probe(limits);
  probe.greet();
  TaskSpec spec = plain(0);
  spec.results = kStreamResults;
  spec.demand.others["GPU"] = 10'000;
  const bool read_by_driver = GENERATE(true, false);
  const auto parent = probe.submit(plain(1));
  const ClientId at_parent = begin_next(probe, parent);
  const ClientId reader = read_by_driver ? kDriverClient : at_parent;
  const auto stream = probe.submit(spec, reader);
  const ClientId worker = begin_next(probe, stream);
  probe.say(worker, message::Suspended{stream, true, stream});
  spec = plain(0, {}, parent);
  spec.demand.others["GPU"] = 10'000;
  const auto asks = probe.submit(spec, at_parent);
  probe.say(at_parent, waits_for(parent, {asks}, false));
  probe.pass(std::chrono::seconds(1));
  CHECK_FALSE(probe.next<message::Deadlock>(worker));
  CHECK(probe.next<message::Deadlock>(at_parent).has_value() == !read_by_driver);
}

TEST_CASE("a ready task that is cancelled makes room for those behind it", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto held = probe.submit(plain(0));
  begin_next(probe, held);
  TaskSpec spec = plain(1);
  spec.demand.cpu = 20'000;
  const auto big = probe.submit(spec);
  const auto small = probe.submit(plain(2));
  CHECK_FALSE(probe.run());
  probe.say(kDriverClient, message::Cancel{big, false, true});
  const auto run = probe.run();
  REQUIRE(run);
  CHECK(run->second.task->id() == small);
}

TEST_CASE("an object that is put without a value gets it later, or fails with its process",
          "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto parent = probe.submit(plain(0));
  const ClientId worker = begin_next(probe, parent);
  WireValue later;
  later.kind = WireValue::Kind::absent;
  const std::uint64_t name = 77;
  probe.say(worker, message::Put{name, later});
  const auto task = probe.submit(plain(0, {name}, parent), worker);
  probe.drop(name, worker);
  CHECK_FALSE(probe.run());
  SECTION("later") {
    probe.say(worker, message::Put{name, inlined("v")});
    probe.drop(name, worker);
    const auto run = probe.run();
    REQUIRE(run);
    CHECK(run->second.task->id() == task);
    CHECK(text_of(run->second.values.at(0).bytes) == "v");
  }
  SECTION("never, and nobody wants it") {
    probe.say(kDriverClient, message::Cancel{task, false, true});
    probe.drop(task, worker);
    CHECK(probe.node.counts().objects == 1);  // The parent's.
    probe.say(worker, message::Put{name, inlined("v")});
    probe.drop(name, worker);
    CHECK(probe.node.counts().objects == 1);
    CHECK(probe.killed.empty());
  }
  SECTION("its process ends") {
    probe.take_reference(task, kDriverClient);
    probe.end(worker);
    probe.say(kDriverClient, message::Want{{task}});
    const auto failure = failure_in(probe.sealed(task));
    CHECK(failure.code == ErrorCode::object_lost);
    CHECK_THAT(failure.text, ContainsSubstring("will not come"));
  }
}
