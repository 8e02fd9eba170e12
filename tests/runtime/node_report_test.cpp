// The node by hand: what it tells of itself.
#include "support/catch.hpp"

#include "runtime/demands.hpp"
#include "runtime/node_probe.hpp"
#include "runtime/node_report.hpp"

using namespace probes;

namespace {

ray::State state_of(NodeProbe& probe) {
  probe.say(kDriverClient, message::Ask{1, kAskState});
  const auto answer = probe.next<message::Answer>(kDriverClient);
  REQUIRE(answer);
  return decode_state(answer->text);
}

}  // namespace

TEST_CASE("demands are counted by what they ask for, the most frequent first", "[node]") {
  const Demand two{20'000, {}};
  const Demand gpu{10'000, {{"GPU", 5'000}}};
  DemandCounts counts;
  counts.add(gpu, true);
  counts.add(two, false);
  counts.add(gpu, false);
  counts.add(gpu, false);
  CHECK(counts.text() ==
        "  {\"CPU\": 1, \"GPU\": 0.5}: 2 pending tasks, 1 pending actor\n"
        "  {\"CPU\": 2}: 1 pending task\n");
}

TEST_CASE("a state that is too large loses its oldest tasks, and says how many", "[node]") {
  ray::State state;
  state.tasks.resize(30'000);
  state.tasks_dropped = 5;
  const ray::State cut = decode_state(encode_state(std::move(state), 100'000));
  CHECK(cut.tasks.size() < 20'000);
  CHECK(cut.tasks.size() + cut.tasks_dropped == 30'005);
}

TEST_CASE("an actor's calls are pending until they end, and the first that began is shown",
          "[node]") {
  NodeProbe probe;
  probe.greet();
  TaskSpec spec = creation(0);
  spec.creates->max_concurrency = 2;
  const auto actor = living_actor(probe, 0, spec);
  const auto first = probe.submit(call(1, actor));
  const auto second = probe.submit(call(2, actor));
  const auto third = probe.submit(call(3, actor));
  const ClientId process = probe.run()->first;
  probe.began(process, second);
  probe.began(process, first);
  const auto shown = [&](const ray::State& state) {
    for (const ray::WorkerInfo& worker : state.workers) {
      if (worker.actor_id.value == actor) return worker;
    }
    return ray::WorkerInfo{};
  };
  ray::State state = state_of(probe);
  REQUIRE(state.actors.size() == 1);
  CHECK(state.actors[0].pending_calls == 3);
  CHECK(shown(state).task_id.value == second);
  CHECK_FALSE(shown(state).blocked);
  probe.say(process, waits_for(first, {third}, false));
  CHECK_FALSE(shown(state_of(probe)).blocked);
  probe.say(process, waits_for(second, {plain(9).id()}, false));
  CHECK(shown(state_of(probe)).blocked);
}
