// The node and the states that actors save: which one is kept, and for how long.
#include "support/catch.hpp"

#include "runtime/node_probe.hpp"

using namespace probes;

namespace {

void done_with(NodeProbe& probe, const std::pair<ClientId, message::Run>& run,
               std::optional<WireValue> state) {
  message::Done done;
  done.task = run.second.task->id();
  done.attempt = run.second.attempt;
  if (run.second.task->kind == TaskKind::actor_call) done.values.push_back(inlined("r"));
  if (state) done.checkpoint = std::move(*state);
  probe.say(run.first, std::move(done));
}

/// What the actor's process is told to go on from.
std::uint64_t started_from(NodeProbe& probe) {
  probe.greet();
  const auto run = probe.run();
  REQUIRE(run);
  REQUIRE(run->second.task->kind == TaskKind::actor_creation);
  probe.began(run->first, run->second.task->id());
  done_with(probe, *run, std::nullopt);
  return run->second.checkpoint;
}

}  // namespace

TEST_CASE("an actor starts again from its newest state, and older ones go", "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = creation(0);
  spec.creates->max_restarts = -1;
  spec.creates->checkpoint_every = 1;
  const auto actor = probe.submit(spec);
  CHECK(started_from(probe) == 0);
  const std::uint64_t referred = 4711;
  probe.say(kDriverClient, message::Put{referred, inlined("x")});

  // A state that refers to something keeps it.
  const auto one = probe.submit(call(1, actor));
  auto run = probe.run();
  REQUIRE(run);
  probe.began(run->first, one);
  WireValue state = inlined("1");
  state.contains = {referred};
  done_with(probe, *run, state);
  probe.drop(one);
  probe.drop(referred);
  CHECK(probe.node.counts().objects == 2);
  probe.end(run->first);
  const std::uint64_t first = started_from(probe);
  CHECK(first != 0);

  // The next one replaces it, also where nobody wants the call's result any more.
  const auto two = probe.submit(call(2, actor));
  run = probe.run();
  REQUIRE(run);
  probe.began(run->first, two);
  probe.drop(two);
  done_with(probe, *run, inlined("2"));
  CHECK(probe.node.counts().objects == 1);
  // A late copy of the first changes nothing.
  message::Done late;
  late.task = one;
  late.values.push_back(inlined("r"));
  late.checkpoint = inlined("1");
  probe.say(run->first, late);
  probe.end(run->first);
  const std::uint64_t second = started_from(probe);
  CHECK(second != 0);
  CHECK(second != first);

  probe.drop(actor);
  CHECK(probe.node.counts().objects == 0);
  CHECK(probe.node.counts().actors == 0);
}
