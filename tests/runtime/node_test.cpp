// The node by hand: one event, and what it decides.
#include "support/catch.hpp"

#include "runtime/node_probe.hpp"

#include <chrono>

using namespace probes;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using ray::ErrorCode;

TEST_CASE("a task is sent to a worker, and who submitted it is told its value", "[node]") {
  NodeProbe probe;
  REQUIRE(probe.starting.size() == 2);
  probe.greet();
  CHECK(probe.next<message::Welcome>(1)->client == 1);
  const auto id = probe.submit(plain(0));
  const auto run = probe.run();
  REQUIRE(run);
  CHECK(run->second.task->id() == id);
  CHECK(probe.node.available().cpu == 10'000);
  probe.began(run->first, id);
  probe.done(run->first, id, inlined("42"));
  const auto sealed = probe.sealed(id);
  REQUIRE(sealed);
  CHECK(text_of(sealed->value.bytes) == "42");
  CHECK_FALSE(probe.sealed(id));
  CHECK(probe.node.available().cpu == 20'000);
  CHECK(probe.node.counts().objects == 1);
  probe.drop(id);
  const auto counts = probe.node.counts();
  CHECK(counts.objects == 0);
  CHECK(counts.tasks == 0);
  CHECK(counts.references == 0);
}

TEST_CASE("a task waits for what it needs and is sent with the values", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto first = probe.submit(plain(0));
  const auto second = probe.submit(plain(1, {first, first}));
  const auto one = probe.run();
  REQUIRE(one);
  CHECK_FALSE(probe.run());
  probe.drop(first);  // The task that needs it holds it.
  probe.began(one->first, first);
  probe.done(one->first, first, inlined("a"));
  const auto two = probe.run();
  REQUIRE(two);
  CHECK(two->second.task->id() == second);
  REQUIRE(two->second.values.size() == 2);
  CHECK(text_of(two->second.values[1].bytes) == "a");
  probe.began(two->first, second);
  probe.done(two->first, second, inlined("b"));
  CHECK(probe.sealed(second));
  CHECK(probe.node.counts().objects == 1);  // The first went with the task that needed it.
}

TEST_CASE("a task that had not begun when its worker died is sent to another", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto id = probe.submit(plain(0));
  const auto run = probe.run();
  probe.end(run->first);
  const auto again = probe.run();
  REQUIRE(again);
  CHECK(again->first != run->first);
  CHECK(again->second.attempt == 0);
  CHECK_FALSE(probe.sealed(id));
  CHECK(probe.starting.size() == 1);  // Another one is kept ready.
}

TEST_CASE("a task that had begun fails with its worker, unless retries are left", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = plain(0);
  spec.max_retries = 1;
  const auto id = probe.submit(spec);
  auto run = probe.run();
  probe.began(run->first, id);
  probe.end(run->first);
  run = probe.run();
  REQUIRE(run);
  CHECK(run->second.attempt == 1);
  probe.began(run->first, id);
  probe.end(run->first, "was killed by SIGSEGV");
  const auto failure = failure_in(probe.sealed(id));
  CHECK(failure.code == ErrorCode::worker_crashed);
  CHECK_THAT(failure.text, ContainsSubstring("was killed by SIGSEGV"));
  CHECK_THAT(failure.text, ContainsSubstring("'t0'"));
  CHECK_THAT(failure.text, ContainsSubstring("may have run"));
  CHECK(probe.node.counts().tasks == 0);
}

TEST_CASE("a task that kills its workers is not tried for ever", "[node]") {
  NodeProbe probe;
  TaskSpec spec = plain(0);
  spec.max_retries = -1;
  const auto id = probe.submit(spec);
  int deaths = 0;
  for (; deaths < 10; ++deaths) {
    probe.greet();
    const auto run = probe.run();
    if (!run) break;
    probe.began(run->first, id);
    probe.end(run->first);
  }
  CHECK(deaths == 3);
  const auto failure = failure_in(probe.sealed(id));
  CHECK(failure.code == ErrorCode::worker_crashed);
  CHECK_THAT(failure.text, ContainsSubstring("killed 3 workers"));
}

TEST_CASE("what comes second from another attempt is dropped and counted", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = plain(0);
  spec.max_retries = 3;
  const auto id = probe.submit(spec);
  auto run = probe.run();
  probe.began(run->first, id);
  message::Done thrown;
  thrown.task = id;
  thrown.values.push_back(failed("once more"));
  thrown.may_retry = true;
  probe.say(run->first, thrown);
  run = probe.run();
  REQUIRE(run);
  CHECK(run->second.attempt == 1);
  probe.done(run->first, id, inlined("old"), 0);
  CHECK(probe.node.counts().commits_dropped == 1);
  CHECK_FALSE(probe.sealed(id));
  probe.done(run->first, id, inlined("new"), 1);
  CHECK(text_of(probe.sealed(id)->value.bytes) == "new");
  probe.done(run->first, id, inlined("newer"), 1);
  CHECK(probe.node.counts().commits_dropped == 2);
}

TEST_CASE("a failure goes through a million tasks that wait for one another", "[node]") {
  NodeProbe probe;
  probe.greet();
  constexpr std::uint32_t kDepth = 1'000'000;
  std::uint64_t before = probe.submit(plain(0));
  const auto run = probe.run();
  for (std::uint32_t i = 1; i < kDepth; ++i) {
    TaskSpec spec;
    spec.parent = kRoot;
    spec.index = i;
    spec.demand.cpu = 10'000;
    spec.needs.push_back(before);
    const std::uint64_t id = probe.submit(std::move(spec));
    probe.drop(before);
    before = id;
  }
  probe.done(run->first, run->second.task->id(), failed("no"));
  const auto failure = failure_in(probe.sealed(before));
  CHECK(failure.text == "no");
  probe.drop(before);
  CHECK(probe.node.counts().tasks == 0);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().references == 0);
}

TEST_CASE("a client that gives back more than it has is killed", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto id = probe.submit(plain(0));
  probe.take_reference(id, 1);
  probe.drop(id, 1);
  CHECK(probe.killed.empty());
  probe.drop(id, 1);
  REQUIRE(probe.killed.contains(1));
  CHECK_THAT(probe.killed[1], ContainsSubstring("reference"));
  CHECK(probe.node.counts().references == 1);
  probe.say(1, message::Put{99, inlined("x")});  // Not listened to any more.
  CHECK(probe.node.counts().objects == 1);
}

TEST_CASE("an id that was freed is a lost object, not a hang", "[node]") {
  NodeProbe probe;
  probe.greet();
  probe.say(1, message::Want{{77}});
  CHECK(failure_in(probe.sealed(77, 1)).code == ErrorCode::object_lost);
  const auto id = probe.submit(plain(0, {78}));
  CHECK(failure_in(probe.sealed(id)).code == ErrorCode::object_lost);
  probe.say(1, message::Fetch{79});
  CHECK(probe.next<message::Fetched>(1)->value.kind == WireValue::Kind::failure);
  probe.drop(id);
  CHECK(probe.node.counts().objects == 0);
}

TEST_CASE("everybody who waits for an object is told, once", "[node]") {
  NodeProbe probe;
  probe.greet();
  const auto id = probe.submit(plain(0));
  probe.take_reference(id, 2);
  probe.say(2, message::Want{{id}});
  probe.say(2, message::Want{{id}});
  const auto run = probe.run();
  probe.began(run->first, id);
  probe.done(run->first, id, inlined("v"));
  CHECK(probe.sealed(id));
  CHECK(probe.sealed(id, 2));
  CHECK_FALSE(probe.sealed(id));
  CHECK_FALSE(probe.sealed(id, 2));
}

TEST_CASE("a parent that runs again finds its children", "[node]") {
  NodeProbe probe(small_node(2, 3));
  probe.greet();
  TaskSpec spec = plain(0);
  spec.max_retries = 1;
  const auto parent = probe.submit(spec);
  auto run = probe.run();
  probe.began(run->first, parent);
  const auto child = probe.submit(plain(0, {}, parent), run->first);
  const auto child_run = probe.run();
  REQUIRE(child_run);
  probe.began(child_run->first, child);
  probe.end(run->first);
  const auto again = probe.run();
  REQUIRE(again);
  probe.began(again->first, parent);
  probe.done(child_run->first, child, inlined("c"));
  CHECK(probe.submit(plain(0, {}, parent), again->first) == child);
  CHECK_FALSE(probe.run());
  CHECK(probe.sealed(child, again->first));
  SECTION("with another function it is told so") {
    TaskSpec other = plain(0, {}, parent);
    other.function = 8;
    probe.submit(other, again->first);
    // The child has ended, so that only its value is known.
    CHECK(probe.sealed(child, again->first));
  }
  probe.drop(child, again->first, 1);
  probe.done(again->first, parent, inlined("p"), 1);
  CHECK(probe.sealed(parent));
  probe.end(again->first);
  probe.drop(parent);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().references == 0);
}

TEST_CASE("workers of another program are refused, and tasks fail", "[node]") {
  NodeProbe probe;
  const auto id = probe.submit(plain(0));
  probe.greet(2);
  CHECK(probe.killed.size() == 2);
  CHECK(failure_in(probe.sealed(id)).code == ErrorCode::worker_crashed);
  CHECK(failure_in(probe.sealed(probe.submit(plain(1)))).code == ErrorCode::worker_crashed);
}

TEST_CASE("when no worker can be started, tasks fail instead of waiting for ever", "[node]") {
  NodeProbe probe(small_node(1, 0));
  const auto id = probe.submit(plain(0));
  for (int i = 0; i < 3; ++i) {
    REQUIRE(probe.starting.size() == 1);
    const ClientId client = probe.starting.back();
    probe.starting.clear();
    Decisions decisions;
    probe.node.worker_failed(client, "no such file", probe.now, decisions);
    probe.take(decisions);
  }
  const auto failure = failure_in(probe.sealed(id));
  CHECK(failure.code == ErrorCode::worker_crashed);
  CHECK_THAT(failure.text, ContainsSubstring("no such file"));
}

TEST_CASE("a demand that the node can never meet fails at once", "[node]") {
  NodeProbe probe;
  TaskSpec spec = plain(0);
  spec.demand.others["GPU"] = 10'000;
  CHECK(failure_in(probe.sealed(probe.submit(spec))).code == ErrorCode::unschedulable);
}
