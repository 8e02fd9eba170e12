// The node by hand: what is lost and made again, and workers to which coroutines come back.
#include "support/catch.hpp"

#include "runtime/node_probe.hpp"

#include <chrono>

using namespace probes;
using namespace std::chrono_literals;
using ray::ErrorCode;

namespace {

constexpr std::uint64_t kLarge = 60'000;

/// A node whose store holds one large object: the one before goes to disk.
struct SmallStore : NodeProbe {
  static NodeLimits limits(std::uint64_t lineage_bytes) {
    NodeLimits limits = small_node(1, 1);
    limits.store_bytes = 130'000;
    limits.segment_bytes = 65'536;
    limits.lineage_bytes = lineage_bytes;
    return limits;
  }
  explicit SmallStore(std::uint64_t lineage_bytes = 1 << 30) : NodeProbe(limits(lineage_bytes)) {
    greet();
  }
  void disk(bool intact) {
    Decisions decisions;
    for (const decision::Spill& spill : std::exchange(spills, {})) {
      node.spilled(spill.object, ++handles, now, decisions);
    }
    for (const decision::Restore& restore : std::exchange(restores, {})) {
      node.restored(restore.object, intact, now, decisions);
    }
    take(decisions);
  }
  /// The next task is run; its result is large. False: there is none.
  bool run_one() {
    const auto next = run();
    if (!next) return false;
    const auto& [worker, task] = *next;
    order.push_back(task.task->index);
    began(worker, task.task->id());
    std::vector<std::uint64_t> pinned;
    for (std::size_t i = 0; i < task.values.size(); ++i) {
      if (task.values[i].kind == WireValue::Kind::stored) pinned.push_back(task.task->needs[i]);
    }
    say(worker, message::Unpin{pinned});
    say(worker, message::Reserve{++requests, kLarge});
    auto reserved = this->next<message::Reserved>(worker);
    while (!reserved) {
      REQUIRE((!spills.empty() || !restores.empty()));
      disk(true);
      reserved = this->next<message::Reserved>(worker);
    }
    done(worker, task.task->id(), stored(reserved->place), task.attempt);
    return true;
  }
  std::uint64_t handles = 0;
  std::vector<std::uint32_t> order;
};

TaskSpec retriable(std::uint32_t index, std::vector<std::uint64_t> needs = {}) {
  TaskSpec spec = plain(index, std::move(needs));
  spec.max_retries = 5;
  return spec;
}

/// A chain, of which only the last result is still referred to.
std::uint64_t chain(SmallStore& probe, std::uint32_t length) {
  std::uint64_t last = probe.submit(retriable(0));
  REQUIRE(probe.run_one());
  for (std::uint32_t i = 1; i < length; ++i) {
    const std::uint64_t next = probe.submit(retriable(i, {last}));
    probe.drop(last);
    while (!probe.run_one()) probe.disk(true);
    last = next;
  }
  probe.sent.clear();
  probe.order.clear();
  return last;
}

/// It is spilled, read, and lost.
void lose(SmallStore& probe, std::uint64_t object) {
  const Place other = probe.reserve(kDriverClient, 100'000);
  static_cast<void>(other);
  probe.disk(true);
  const auto reserved = probe.next<message::Reserved>(kDriverClient);
  REQUIRE(reserved);
  probe.say(kDriverClient, message::Unreserve{reserved->place});
  probe.say(kDriverClient, message::Fetch{object});
  REQUIRE(probe.restores.size() == 1);
  probe.disk(false);
}

}  // namespace

TEST_CASE("what a lost object needs is made again, however deep", "[node]") {
  constexpr std::uint32_t kLength = 3000;
  SmallStore probe;
  const std::uint64_t last = chain(probe, kLength);
  CHECK(probe.node.counts().objects == 1);
  CHECK(probe.node.counts().tasks == 0);
  lose(probe, last);
  for (std::uint32_t i = 0; i < kLength; ++i) {
    while (!probe.run_one()) probe.disk(true);
  }
  REQUIRE(probe.order.size() == kLength);
  for (std::uint32_t i = 0; i < kLength; ++i) CHECK(probe.order[i] == i);
  const auto fetched = probe.next<message::Fetched>(kDriverClient);
  REQUIRE(fetched);
  CHECK(fetched->value.kind == WireValue::Kind::stored);
  CHECK(probe.node.counts().objects == 1);
  probe.say(kDriverClient, message::Unpin{{last}});
  probe.drop(last);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().references == 0);
  CHECK(probe.node.counts().stored_bytes == 0);
  CHECK(probe.node.counts().spilled_bytes == 0);
}

TEST_CASE("of what is kept to be run again the oldest is forgotten", "[node]") {
  SmallStore probe(7000);  // Of ten tasks.
  const std::uint64_t last = chain(probe, 30);
  lose(probe, last);
  CHECK_FALSE(probe.run_one());
  const auto fetched = probe.next<message::Fetched>(kDriverClient);
  REQUIRE(fetched);
  CHECK(decode_failure(fetched->value.bytes).code == ErrorCode::object_lost);
  probe.drop(last);
  CHECK(probe.node.counts().references == 0);
}

TEST_CASE("a small argument is kept for a task that may run again", "[node]") {
  SmallStore probe;
  probe.say(kDriverClient, message::Put{77, inlined("seven")});
  const std::uint64_t made = probe.submit(retriable(0, {77}));
  probe.drop(77);
  REQUIRE(probe.run_one());
  CHECK(probe.node.counts().objects == 2);
  lose(probe, made);
  const auto again = probe.run();
  REQUIRE(again);
  CHECK(text_of(again->second.values.at(0).bytes) == "seven");
  probe.began(again->first, made);
  probe.done(again->first, made, inlined("x"), 1);
  probe.drop(made);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().references == 0);
}

TEST_CASE("an actor gets no process to which a coroutine comes back", "[node]") {
  NodeProbe probe(small_node(1, 1));
  probe.greet();
  const auto coroutine = probe.submit(plain(0));
  const auto run = probe.run();
  REQUIRE(run);
  probe.began(run->first, coroutine);
  probe.say(run->first, message::Suspended{coroutine, true});
  const auto actor = probe.submit(creation(1));
  CHECK_FALSE(probe.run());
  REQUIRE(probe.starting.size() == 1);
  probe.greet();
  const auto own = probe.run();
  REQUIRE(own);
  CHECK(own->second.task->id() == actor);
  CHECK(own->first != run->first);
  // Nor is it ended as one that has nothing to do.
  probe.began(own->first, actor);
  const auto other = probe.submit(plain(2));
  const auto ran = probe.run();
  REQUIRE(ran);
  CHECK(ran->first == run->first);
  probe.began(ran->first, other);
  probe.done(ran->first, other, inlined("2"));
  probe.pass(10s);
  CHECK_FALSE(probe.next<message::Exit>(run->first));
  probe.say(run->first, message::Suspended{coroutine, false});
  probe.done(run->first, coroutine, inlined("1"));
  CHECK(probe.sealed(coroutine));
}

TEST_CASE("who waits for a lost object lends its CPU to what makes it", "[node]") {
  SmallStore probe;
  const std::uint64_t made = probe.submit(retriable(0));
  REQUIRE(probe.run_one());
  const std::uint64_t reads = probe.submit(plain(1));
  const auto run = probe.run();
  REQUIRE(run);
  const ClientId reader = run->first;
  probe.began(reader, reads);
  probe.take_reference(made, reader);
  CHECK(probe.node.available().cpu == 0);
  const Place other = probe.reserve(kDriverClient, 100'000);
  static_cast<void>(other);
  probe.disk(true);
  const auto reserved = probe.next<message::Reserved>(kDriverClient);
  REQUIRE(reserved);
  probe.say(kDriverClient, message::Unreserve{reserved->place});
  probe.say(reader, message::Fetch{made});
  probe.disk(false);
  CHECK(probe.node.available().cpu == 10'000);
  probe.greet();
  REQUIRE(probe.run_one());
  CHECK(probe.order.back() == 0);
  CHECK(probe.next<message::Fetched>(reader)->value.kind == WireValue::Kind::stored);
  CHECK(probe.node.available().cpu == 0);
}

TEST_CASE("who waits for a lost object gives back what it has not begun", "[node]") {
  SmallStore probe;
  const std::uint64_t made = probe.submit(retriable(0));
  REQUIRE(probe.run_one());
  const std::uint64_t reads = probe.submit(plain(1));
  const auto run = probe.run();
  REQUIRE(run);
  const ClientId reader = run->first;
  probe.began(reader, reads);
  probe.take_reference(made, reader);
  const std::uint64_t behind = probe.submit(plain(2));
  const auto ahead = probe.run();
  REQUIRE(ahead);
  REQUIRE(ahead->first == reader);
  const Place other = probe.reserve(kDriverClient, 100'000);
  static_cast<void>(other);
  probe.disk(true);
  const auto reserved = probe.next<message::Reserved>(kDriverClient);
  REQUIRE(reserved);
  probe.say(kDriverClient, message::Unreserve{reserved->place});
  probe.say(reader, message::Fetch{made});
  probe.disk(false);
  CHECK(probe.next<message::Recall>(reader));
  probe.say(reader, message::GiveBack{{behind}});
  const std::uint64_t late = probe.submit(plain(3));
  static_cast<void>(late);
  CHECK_FALSE(probe.run());  // It is not for the one that waits.
  probe.greet();
  const auto next = probe.run();
  REQUIRE(next);
  CHECK(next->first != reader);
}

TEST_CASE("a task of several results that is submitted again runs for those that are gone",
          "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = plain(0);
  spec.results = 2;
  const std::uint64_t id = probe.submit(spec);
  const auto both = [&](const std::pair<ClientId, message::Run>& run) {
    probe.began(run.first, id);
    message::Done done;
    done.task = id;
    done.values = {inlined("a"), inlined("b")};
    probe.say(run.first, std::move(done));
  };
  both(probe.run().value());
  const std::uint64_t kept = result_id(id, 2, 0);
  const std::uint64_t gone = result_id(id, 2, 1);
  probe.drop(gone);
  probe.sent.clear();
  probe.submit(spec);
  CHECK(text_of(probe.sealed(kept).value().value.bytes) == "a");
  CHECK_FALSE(probe.sealed(gone));
  const auto again = probe.run();
  REQUIRE(again);
  both(*again);
  CHECK(text_of(probe.sealed(gone).value().value.bytes) == "b");
  probe.drop(kept, kDriverClient, 2);
  probe.drop(gone);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().tasks == 0);
}

TEST_CASE("a named actor that is made again after it was dropped has its name", "[node]") {
  NodeProbe probe(small_node(2, 2));
  probe.greet();
  const auto parent = probe.submit(plain(9));
  const auto run = probe.run();
  REQUIRE(run);
  probe.began(run->first, parent);
  TaskSpec spec = creation(0, "a");
  spec.parent = parent;
  const auto actor = probe.submit(spec, run->first);
  CHECK(probe.next<message::ActorFound>(run->first)->actor == actor);
  const auto made = probe.run();
  REQUIRE(made);
  probe.began(made->first, actor);
  probe.drop(actor, run->first);  // While its constructor runs.
  CHECK(probe.submit(spec, run->first) == actor);
  const auto found = probe.next<message::ActorFound>(run->first);
  REQUIRE(found);
  CHECK(found->actor == actor);
  probe.say(kDriverClient, message::FindActor{5, "a"});
  CHECK(probe.next<message::ActorFound>(kDriverClient)->actor == actor);
}

TEST_CASE("a detached actor stays without handles, and ends when it is killed", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = creation(0, "stays");
  spec.creates->detached = true;
  const auto actor = probe.submit(spec);
  const auto run = probe.run();
  REQUIRE(run);
  probe.began(run->first, actor);
  message::Done done;
  done.task = actor;
  probe.say(run->first, done);
  probe.drop(actor);
  CHECK(probe.node.counts().actors == 1);
  CHECK_FALSE(probe.next<message::Exit>(run->first));
  probe.say(kDriverClient, message::KillActor{actor, true});
  probe.end(run->first);
  CHECK(probe.node.counts().actors == 0);
  CHECK(probe.node.counts().references == 0);
}

TEST_CASE("a call that kills its actor each time is not tried for ever", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = creation(0);
  spec.creates->max_restarts = -1;
  const auto actor = probe.submit(spec);
  TaskSpec poison = call(1, actor);
  poison.max_retries = -1;
  const auto id = probe.submit(poison);
  int deaths = 0;
  for (; deaths < 10; ++deaths) {
    probe.greet();
    const auto made = probe.run();
    REQUIRE(made);
    probe.began(made->first, actor);
    message::Done done;
    done.task = actor;
    done.attempt = made->second.attempt;
    probe.say(made->first, done);
    const auto run = probe.run();
    if (!run) break;
    probe.began(run->first, id);
    probe.end(run->first);
  }
  CHECK(deaths == 3);
  CHECK(failure_in(probe.sealed(id)).code == ErrorCode::actor_died);
}
