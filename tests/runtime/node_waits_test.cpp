// The node by hand: tasks that wait for tasks, actors, streams, the store, and ends.
#include "support/catch.hpp"

#include "runtime/node_probe.hpp"
#include "sim/program.hpp"

#include "api/probes.hpp"

#include <chrono>

using namespace probes;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using ray::ErrorCode;

TEST_CASE("a thousand tasks that wait for one another need no more than two workers", "[node]") {
  NodeLimits limits = small_node(2, 2);
  limits.workers_max = 2;
  NodeProbe probe(limits);
  probe.greet();
  std::vector<std::pair<ClientId, std::uint64_t>> stack;
  std::uint64_t task = probe.submit(plain(0));
  for (int depth = 0; depth < 1000; ++depth) {
    auto run = probe.run();
    if (!run) {  // It was sent ahead, and is given back.
      FAIL("no worker for depth " << depth);
    }
    REQUIRE(run->second.task->id() == task);
    probe.began(run->first, task);
    stack.emplace_back(run->first, task);
    if (depth == 999) break;
    const std::uint64_t child = probe.submit(plain(0, {}, task), run->first);
    // What was sent ahead to this very worker comes back when it blocks.
    probe.say(run->first, waits_for(task, {child}));
    if (probe.next<message::Recall>(run->first)) {
      probe.run();
      probe.say(run->first, message::GiveBack{{child}});
    }
    task = child;
  }
  CHECK(probe.starting.empty());
  while (!stack.empty()) {
    const auto [worker, id] = stack.back();
    stack.pop_back();
    probe.done(worker, id, inlined("x"));
    if (stack.empty()) break;
    REQUIRE(probe.sealed(id, stack.back().first));
    probe.say(stack.back().first, message::Unblocked{stack.back().second});
    probe.drop(id, stack.back().first);
  }
  CHECK(probe.sealed(plain(0).id()));
  CHECK(probe.node.available().cpu == 20'000);
  CHECK(probe.node.counts().tasks == 0);
}

TEST_CASE("two tasks that wait for one another are told, the one that closed the circle",
          "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto a = probe.submit(plain(0));
  const auto run_a = probe.run();
  const auto b = probe.submit(plain(1));
  const auto run_b = probe.run();
  probe.began(run_a->first, a);
  probe.began(run_b->first, b);
  probe.say(run_a->first, waits_for(a, {b}));
  CHECK_FALSE(probe.next<message::Deadlock>(run_a->first));
  SECTION("at once") {
    probe.say(run_b->first, waits_for(b, {a}));
    const auto deadlock = probe.next<message::Deadlock>(run_b->first);
    REQUIRE(deadlock);
    CHECK(deadlock->task == b);
    CHECK_THAT(deadlock->why, ContainsSubstring("'t0'") && ContainsSubstring("'t1'"));
  }
  SECTION("through a task that waits for its argument") {
    const auto c = probe.submit(plain(2, {a}));
    probe.say(run_b->first, waits_for(b, {c}));
    CHECK(probe.next<message::Deadlock>(run_b->first));
  }
  SECTION("a wait for a part, or for a time, ends by itself") {
    message::Blocked part = waits_for(b, {a, plain(9).id()});
    part.count = 1;
    probe.say(run_b->first, part);
    CHECK_FALSE(probe.next<message::Deadlock>(run_b->first));
    probe.say(run_b->first, message::Unblocked{b});
    message::Blocked timed = waits_for(b, {a});
    timed.count = 0;
    probe.say(run_b->first, timed);
    CHECK_FALSE(probe.next<message::Deadlock>(run_b->first));
  }
}

TEST_CASE("a call that waits for a later call of its own actor is told", "[node]") {
  NodeProbe probe(small_node(2, 1));
  probe.greet();
  const auto actor = living_actor(probe, 0, creation(0));
  const auto first = probe.submit(call(1, actor));
  const auto run = probe.run();
  probe.began(run->first, first);
  const auto second = probe.submit(call(0, actor, {}, first), run->first);
  probe.say(run->first, waits_for(first, {second}, false));
  const auto deadlock = probe.next<message::Deadlock>(run->first);
  REQUIRE(deadlock);
  CHECK(deadlock->task == first);
}

TEST_CASE("when all workers wait and tasks are ready, the newest that waits is told", "[node]") {
  NodeLimits limits = small_node(2, 2);
  limits.workers_max = 2;
  NodeProbe probe(limits);
  probe.greet();
  std::vector<std::uint64_t> parents;
  std::vector<ClientId> workers;
  for (std::uint32_t i = 0; i < 2; ++i) {
    parents.push_back(probe.submit(plain(i)));
    workers.push_back(probe.run()->first);
    probe.began(workers[i], parents[i]);
  }
  for (std::uint32_t i = 0; i < 2; ++i) {
    // Takes no slot, but a worker of its own.
    TaskSpec child = plain(0, {}, parents[i]);
    child.demand.cpu = 0;
    const auto id = probe.submit(child, workers[i]);
    CHECK_FALSE(probe.next<message::Deadlock>(workers[0]));
    probe.say(workers[i], waits_for(parents[i], {id}));
  }
  CHECK_FALSE(probe.run());
  CHECK_FALSE(probe.next<message::Deadlock>(workers[0]));
  const auto deadlock = probe.next<message::Deadlock>(workers[1]);
  REQUIRE(deadlock);
  CHECK_THAT(deadlock->why, ContainsSubstring("all 2 worker processes"));
}

TEST_CASE("ready tasks are sent ahead, and recalled when another worker is idle", "[node]") {
  NodeProbe probe(small_node(2, 2));
  probe.greet();
  const auto a = probe.submit(plain(0));
  const auto b = probe.submit(plain(1));
  const auto run_a = probe.run();
  const auto run_b = probe.run();
  probe.began(run_a->first, a);
  probe.began(run_b->first, b);
  const auto c = probe.submit(plain(2));
  const auto ahead = probe.run();
  REQUIRE(ahead);
  CHECK(ahead->second.task->id() == c);
  const ClientId other = ahead->first == run_a->first ? run_b->first : run_a->first;
  probe.done(other, other == run_a->first ? a : b, inlined("x"));
  CHECK(probe.next<message::Recall>(ahead->first));
  probe.say(ahead->first, message::GiveBack{{c}});
  const auto moved = probe.run();
  REQUIRE(moved);
  CHECK(moved->first == other);
}

TEST_CASE("calls come to their actor in the order of each caller", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto actor = living_actor(probe, 0, creation(0));
  const auto slow = probe.submit(plain(1));
  const auto slow_run = probe.run();
  const auto one = probe.submit(call(2, actor, {slow}));
  const auto two = probe.submit(call(3, actor));
  CHECK_FALSE(probe.run());
  probe.done(slow_run->first, slow, inlined("s"));
  CHECK(probe.run()->second.task->id() == one);
  CHECK(probe.run()->second.task->id() == two);
}

TEST_CASE("an actor's death fails what had begun, and a restart gets the rest", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = creation(0);
  spec.creates->max_restarts = 1;
  const auto actor = living_actor(probe, 0, spec);
  const auto one = probe.submit(call(1, actor));
  const auto two = probe.submit(call(2, actor));
  const auto run = probe.run();
  probe.run();
  probe.began(run->first, one);
  probe.end(run->first);
  const auto failure = failure_in(probe.sealed(one));
  CHECK(failure.code == ErrorCode::actor_died);
  CHECK_THAT(failure.text, ContainsSubstring("may have run"));
  probe.greet();
  auto again = probe.run();
  REQUIRE(again);
  CHECK(again->second.task->id() == actor);
  probe.began(again->first, actor);
  message::Done made;
  made.task = actor;
  made.attempt = again->second.attempt;
  probe.say(again->first, made);
  again = probe.run();
  REQUIRE(again);
  CHECK(again->second.task->id() == two);
  probe.end(again->first);
  CHECK(failure_in(probe.sealed(two)).code == ErrorCode::actor_died);
  CHECK(probe.next<message::ActorEnded>(kDriverClient)->actor == actor);
  CHECK(failure_in(probe.sealed(probe.submit(call(3, actor)))).code == ErrorCode::actor_died);
  for (const auto id : {actor, one, two, call(3, actor).id()}) probe.drop(id);
  CHECK(probe.node.counts().actors == 0);
  CHECK(probe.node.counts().objects == 0);
}

TEST_CASE("an actor that nobody refers to ends in order, a killed one at once", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto actor = living_actor(probe, 0, creation(0, "a"));
  CHECK(probe.next<message::ActorFound>(kDriverClient)->actor == actor);
  const auto last = probe.submit(call(1, actor));
  const auto run = probe.run();
  probe.drop(actor);
  CHECK_FALSE(probe.next<message::Exit>(run->first));  // A call is pending.
  probe.began(run->first, last);
  SECTION("dropped") {
    probe.done(run->first, last, inlined("x"));
    CHECK(probe.next<message::Exit>(run->first));
    CHECK(probe.node.counts().actors == 0);
  }
  SECTION("killed") {
    probe.say(kDriverClient, message::KillActor{actor, true});
    CHECK(probe.killed.contains(run->first));
    CHECK_THAT(failure_in(probe.sealed(last)).text, ContainsSubstring("ray::kill"));
  }
  probe.end(run->first, "ended");
  probe.say(kDriverClient, message::FindActor{5, "a"});
  CHECK(probe.next<message::ActorFound>(kDriverClient)->actor == 0);
}

TEST_CASE("a name is found, kept from others, or shared", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto actor = living_actor(probe, 0, creation(0, "a"));
  probe.next<message::ActorFound>(kDriverClient);
  probe.submit(creation(1, "a"));
  CHECK(probe.next<message::ActorFound>(kDriverClient)->actor == 0);
  TaskSpec shared = creation(2, "a");
  shared.creates->get_if_exists = true;
  probe.submit(shared);
  CHECK(probe.next<message::ActorFound>(kDriverClient)->actor == actor);
  probe.say(kDriverClient, message::FindActor{5, "a"});
  CHECK(probe.next<message::ActorFound>(kDriverClient)->actor == actor);
  CHECK(probe.node.counts().references == 3);
  CHECK(probe.node.counts().actors == 1);
}

TEST_CASE("a stream goes on after a crash where its reader is", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = plain(0);
  spec.results = kStreamResults;
  spec.max_retries = 1;
  const auto stream = probe.submit(spec);
  auto run = probe.run();
  probe.began(run->first, stream);
  probe.say(run->first, message::Yielded{stream, 0, inlined("a")});
  CHECK(text_of(probe.next<message::Item>(kDriverClient)->value.bytes) == "a");
  probe.say(kDriverClient, message::Consumed{stream, 1});
  CHECK(probe.next<message::Credit>(run->first)->items == 1);
  probe.end(run->first);
  run = probe.run();
  REQUIRE(run);
  CHECK(probe.next<message::Credit>(run->first)->items == 1);
  probe.began(run->first, stream);
  probe.say(run->first, message::Yielded{stream, 0, inlined("a")});
  CHECK_FALSE(probe.next<message::Item>(kDriverClient));
  probe.say(run->first, message::Yielded{stream, 1, inlined("b")});
  CHECK(probe.next<message::Item>(kDriverClient)->item == 1);
  probe.done(run->first, stream, inlined(""), 1);
  const auto last = probe.next<message::Item>(kDriverClient);
  CHECK(last->last);
  CHECK(last->item == 2);
  probe.drop(child_id(~stream, 0));
  probe.drop(child_id(~stream, 1));
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().tasks == 0);
}

TEST_CASE("a cancelled task fails at once, its children with it, and a late value is dropped",
          "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto parent = probe.submit(plain(0));
  const auto run = probe.run();
  probe.began(run->first, parent);
  const auto child = probe.submit(plain(0, {}, parent), run->first);
  const auto child_run = probe.run();
  REQUIRE(child_run);
  probe.say(kDriverClient, message::Cancel{parent, false, true});
  CHECK(failure_in(probe.sealed(parent)).code == ErrorCode::task_cancelled);
  CHECK(failure_in(probe.sealed(child, run->first)).code == ErrorCode::task_cancelled);
  CHECK(probe.next<message::CancelTask>(run->first)->task == parent);
  CHECK(probe.next<message::CancelTask>(child_run->first)->task == child);
  CHECK(probe.node.counts().tasks == 2);  // Until their workers have let them go.
  probe.say(child_run->first, message::GiveBack{{child}});
  CHECK(probe.node.counts().tasks == 1);
  probe.done(run->first, parent, inlined("late"));
  CHECK(probe.node.counts().commits_dropped == 1);
  CHECK(probe.node.counts().tasks == 0);
  CHECK_FALSE(probe.sealed(parent));
}

TEST_CASE("force ends the worker of a task that had begun without the node's knowledge", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto forced = probe.submit(plain(0));
  const auto asked = probe.submit(plain(1));
  const auto one = probe.run();
  const auto two = probe.run();
  REQUIRE(two);
  probe.say(kDriverClient, message::Cancel{forced, true, true});
  probe.say(kDriverClient, message::Cancel{asked, false, true});
  CHECK(failure_in(probe.sealed(forced)).code == ErrorCode::task_cancelled);
  CHECK(probe.killed.empty());  // The worker may still give it back.
  probe.began(one->first, forced);
  probe.began(two->first, asked);
  CHECK(probe.killed.size() == 1);
  CHECK(probe.killed.contains(one->first));
}

TEST_CASE("100,000 random cancels leave one end for each task", "[node]") {
  NodeProbe probe(small_node(4, 4));
  probe.greet();
  ray::sim::Random random(11);
  const std::uint32_t count = static_cast<std::uint32_t>(scaled(100'000));
  std::vector<std::uint64_t> ids;
  std::uint64_t told = 0;
  const auto look = [&] {
    for (auto& [to, said] : std::exchange(probe.sent, {})) {
      if (std::holds_alternative<message::Sealed>(said)) ++told;
      const auto* run = std::get_if<message::Run>(&said);
      if (run != nullptr && random.chance(500)) {
        probe.began(to, run->task->id());
        probe.done(to, run->task->id(), inlined("x"));
      } else if (run != nullptr) {
        probe.say(to, message::GiveBack{{run->task->id()}});
      }
    }
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    std::vector<std::uint64_t> needs;
    if (!ids.empty() && random.chance(500)) needs.push_back(ids[random.below(ids.size())]);
    ids.push_back(probe.submit(plain(i, std::move(needs))));
    probe.say(kDriverClient, message::Cancel{ids[random.below(ids.size())], false, true});
    if (i % 16 == 0) look();
  }
  for (int i = 0; i < 100'000 && probe.node.counts().tasks != 0; ++i) look();
  look();
  CHECK(told == count);
  for (const auto id : ids) probe.drop(id);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().references == 0);
  CHECK(probe.node.available().cpu == 40'000);
}

TEST_CASE("ten times as much as the store holds goes through it", "[node]") {
  NodeProbe probe(small_node(2, 2));
  probe.greet();
  std::uint64_t handle = 0;
  const auto serve = [&] {
    while (!probe.spills.empty() || !probe.restores.empty()) {
      Decisions decisions;
      if (!probe.spills.empty()) {
        const auto spill = probe.spills.back();
        probe.spills.pop_back();
        probe.node.spilled(spill.object, ++handle, probe.now, decisions);
      } else {
        const auto restore = probe.restores.back();
        probe.restores.pop_back();
        probe.node.restored(restore.object, true, probe.now, decisions);
      }
      probe.take(decisions);
    }
  };
  std::vector<std::uint64_t> objects;
  for (std::uint32_t i = 0; i < 100; ++i) {
    probe.say(kDriverClient, message::Reserve{i, 100'000});
    serve();
    const auto reserved = probe.next<message::Reserved>(kDriverClient);
    REQUIRE(reserved);
    REQUIRE(reserved->failure.empty());
    objects.push_back(child_id(kRoot, 100'000 + i));
    probe.say(kDriverClient, message::Put{objects.back(), stored(reserved->place)});
    CHECK(probe.node.counts().stored_bytes <= 1U << 20);
  }
  CHECK(probe.node.counts().spilled_bytes > 8'000'000);
  for (std::uint32_t i = 0; i < 99; ++i) {
    const auto id = probe.submit(plain(i, {objects[i], objects[i + 1]}));
    serve();
    const auto run = probe.run();
    REQUIRE(run);
    REQUIRE(run->second.values[1].kind == WireValue::Kind::stored);
    probe.began(run->first, id);
    probe.say(run->first, message::Unpin{{objects[i], objects[i + 1]}});
    probe.done(run->first, id, inlined("x"));
    REQUIRE(probe.sealed(id));
    probe.drop(id);
  }
  for (const auto object : objects) probe.drop(object);
  CHECK(probe.node.counts().stored_bytes == 0);
  CHECK(probe.node.counts().spilled_bytes == 0);
  CHECK(probe.dropped_spills.size() == handle);
}

TEST_CASE("a result that is lost on disk is made again", "[node]") {
  NodeLimits limits = small_node(1, 1);
  limits.store_bytes = 100'000;
  NodeProbe probe(limits);
  probe.greet();
  TaskSpec spec = plain(0);
  const bool retriable = GENERATE(true, false);
  spec.max_retries = retriable ? 1 : 0;
  const auto id = probe.submit(spec);
  auto run = probe.run();
  probe.began(run->first, id);
  probe.done(run->first, id, stored(probe.reserve(run->first, 80'000)));
  CHECK(probe.sealed(id)->value.kind == WireValue::Kind::absent);
  probe.say(kDriverClient, message::Reserve{1, 80'000});
  REQUIRE(probe.spills.size() == 1);
  Decisions decisions;
  probe.node.spilled(id, 1, probe.now, decisions);
  probe.take(decisions);
  const auto reserved = probe.next<message::Reserved>(kDriverClient);
  probe.say(kDriverClient, message::Unreserve{reserved->place});
  probe.say(kDriverClient, message::Fetch{id});
  REQUIRE(probe.restores.size() == 1);
  decisions.clear();
  probe.node.restored(id, false, probe.now, decisions);
  probe.take(decisions);
  if (retriable) {
    run = probe.run();
    REQUIRE(run);
    CHECK(run->second.attempt == 1);
    probe.began(run->first, id);
    probe.done(run->first, id, stored(probe.reserve(run->first, 80'000)), 1);
    CHECK(probe.next<message::Fetched>(kDriverClient)->value.kind == WireValue::Kind::stored);
    probe.say(kDriverClient, message::Unpin{{id}});
  } else {
    const auto fetched = probe.next<message::Fetched>(kDriverClient);
    REQUIRE(fetched);
    CHECK(decode_failure(fetched->value.bytes).code == ErrorCode::object_lost);
  }
  probe.drop(id);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().stored_bytes == 0);
}

TEST_CASE("memory is relieved by the newest task that can be tried again", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = plain(0);
  spec.max_retries = 1;
  std::vector<std::uint64_t> ids;
  for (std::uint32_t i = 0; i < 2; ++i) {
    spec.index = i;
    ids.push_back(probe.submit(spec));
    probe.began(probe.run()->first, ids[i]);
  }
  Decisions decisions;
  CHECK(probe.node.relieve_memory(probe.now, decisions));
  probe.take(decisions);
  REQUIRE(probe.killed.size() == 1);
  CHECK(probe.killed.begin()->second == "out of memory");
  probe.end(probe.killed.begin()->first);
  probe.greet();
  const auto again = probe.run();
  REQUIRE(again);
  CHECK(again->second.task->id() == ids[1]);
  Decisions none;
  CHECK_FALSE(probe.node.relieve_memory(probe.now, none));  // One must be left.
}

TEST_CASE("the end of a runtime ends everything that is pending", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto actor = living_actor(probe, 0, creation(0));
  const auto running = probe.submit(plain(1));
  probe.began(probe.run()->first, running);
  const auto waiting = probe.submit(plain(2, {running}));
  const auto calling = probe.submit(call(3, actor));
  Decisions decisions;
  probe.node.shut_down(probe.now, decisions);
  probe.take(decisions);
  CHECK(failure_in(probe.sealed(running)).code == ErrorCode::task_cancelled);
  CHECK_THAT(failure_in(probe.sealed(waiting)).text, ContainsSubstring("shut down first"));
  CHECK(failure_in(probe.sealed(calling)).code == ErrorCode::actor_died);
  CHECK(failure_in(probe.sealed(probe.submit(plain(4)))).code == ErrorCode::task_cancelled);
  int exits = 0;
  for (const auto& [to, said] : probe.sent) exits += std::holds_alternative<message::Exit>(said);
  CHECK(exits >= 2);
  CHECK(probe.killed.empty());
  probe.pass(5s);
  CHECK(probe.killed.size() == probe.node.counts().workers);
}

TEST_CASE("a worker that dies takes with it what only it wanted", "[node]") {
  NodeProbe probe(small_node(3, 3));
  probe.greet();
  const auto parent = probe.submit(plain(0));
  const auto run = probe.run();
  probe.began(run->first, parent);
  const auto child = probe.submit(plain(0, {}, parent), run->first);
  const auto child_run = probe.run();
  probe.began(child_run->first, child);
  probe.submit(plain(1, {child}, parent), run->first);
  const Place place = probe.reserve(run->first, 1000);
  CHECK(place.segment != 0);
  probe.end(run->first);
  CHECK(failure_in(probe.sealed(parent)).code == ErrorCode::worker_crashed);
  CHECK(probe.next<message::CancelTask>(child_run->first)->task == child);
  CHECK(probe.node.counts().stored_bytes == 0);
  CHECK(probe.node.counts().tasks == 1);  // The child, as long as it runs.
  probe.done(child_run->first, child, inlined("x"));
  probe.drop(parent);
  CHECK(probe.node.counts().tasks == 0);
  CHECK(probe.node.counts().objects == 0);
}
