// CAF 0.17: event-based actors on a scheduler of two threads, and the main thread as a
// scoped_actor. Calls that fetch are requests; those that do not are plain sends.

#include <caf/all.hpp>

#include "actor/workload.hpp"

namespace {

using take_atom = caf::atom_constant<caf::atom("take")>;
using start_atom = caf::atom_constant<caf::atom("start")>;

struct CounterState {
  actor::Counter counter;
};

caf::behavior counter_actor(caf::stateful_actor<CounterState>* self) {
  return {
      [self](int x) { return self->state.counter.add(x); },
      [self](take_atom) { return self->state.counter.take_total(); },
  };
}

struct CallerState {
  std::uint64_t sum = 0;
  std::uint64_t next = 0;     // the call to make
  std::uint64_t calls = 0;    // to make in all
  std::uint64_t pending = 0;  // made, not answered
  caf::response_promise done;
};

using Caller = caf::stateful_actor<CallerState>;

void call_batch(Caller* self, const std::vector<caf::actor>& counters, std::uint64_t batch) {
  CallerState& state = self->state;
  for (; state.pending < batch && state.next < state.calls; ++state.next, ++state.pending) {
    self->request(counters[state.next % counters.size()], caf::infinite,
                  actor::argument(state.next))
        .then([self, &counters, batch](int result) {
          CallerState& after = self->state;
          after.sum += static_cast<std::uint64_t>(result);
          if (--after.pending > 0) return;
          if (after.next < after.calls) {
            call_batch(self, counters, batch);
          } else {
            after.done.deliver(after.sum);
          }
        });
  }
}

/// Makes its calls in turn to `counters`, `batch` at a time; the answer is the sum of results.
caf::behavior caller_actor(Caller* self, std::vector<caf::actor> counters, std::uint64_t batch) {
  return {
      [self, counters, batch](start_atom, std::uint64_t calls) -> caf::result<std::uint64_t> {
        self->state.sum = 0;
        self->state.next = 0;
        self->state.calls = calls;
        self->state.done = self->make_response_promise();
        call_batch(self, counters, batch);
        return self->state.done;
      },
  };
}

template <class Result, class... Args>
Result call(caf::scoped_actor& self, const caf::actor& callee, Args... args) {
  Result answer{};
  self->request(callee, caf::infinite, args...)
      .receive([&answer](Result result) { answer = result; },
               [](const caf::error&) { std::abort(); });
  return answer;
}

int run_sync(bench::Program& program, caf::actor_system& system) {
  caf::scoped_actor self(system);
  const caf::actor counter = system.spawn(counter_actor);
  return program.run_latency(
      actor::expected_results(program.n()), std::chrono::microseconds(0), [&](int i) {
        return call<int>(self, counter, actor::argument(static_cast<std::size_t>(i)));
      });
}

int run_local(bench::Program& program, caf::actor_system& system) {
  caf::scoped_actor self(system);
  const std::size_t n = program.n();
  const std::vector<caf::actor> counters{system.spawn(counter_actor)};
  const caf::actor caller = system.spawn(caller_actor, counters, std::uint64_t{1});
  return program.run(actor::expected_results(n), static_cast<double>(n), [&] {
    return call<std::uint64_t>(self, caller, start_atom::value, static_cast<std::uint64_t>(n));
  });
}

int run_async(bench::Program& program, caf::actor_system& system) {
  caf::scoped_actor self(system);
  const std::size_t n = program.n();
  const caf::actor counter = system.spawn(counter_actor);
  return program.run(actor::expected_total(n), static_cast<double>(n), [&] {
    for (std::size_t i = 0; i < n; ++i) caf::anon_send(counter, actor::argument(i));
    return call<std::uint64_t>(self, counter, take_atom::value);
  });
}

int run_nn(bench::Program& program, caf::actor_system& system) {
  caf::scoped_actor self(system);
  const std::size_t n = program.n();
  std::vector<caf::actor> counters;
  for (int i = 0; i < actor::kActors; ++i) counters.push_back(system.spawn(counter_actor));
  std::vector<caf::actor> callers;
  for (int i = 0; i < actor::kCallers; ++i)
    callers.push_back(system.spawn(caller_actor, counters, std::uint64_t{actor::kBatch}));
  const std::uint64_t calls = n / actor::kCallers;
  return program.run(actor::expected_from_callers(n), static_cast<double>(n), [&] {
    std::uint64_t sum = 0;
    for (const caf::actor& caller : callers) self->send(caller, start_atom::value, calls);
    for (int i = 0; i < actor::kCallers; ++i)
      self->receive([&sum](std::uint64_t part) { sum += part; });
    return sum;
  });
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, actor::kWorkload, "caf");
  const actor::Mode mode = actor::choose_mode(program);
  caf::actor_system_config config;
  config.set("scheduler.max-threads", static_cast<std::size_t>(bench::kWorkers));
  caf::actor_system system(config);
  if (mode == actor::Mode::sync) return run_sync(program, system);
  if (mode == actor::Mode::local) return run_local(program, system);
  if (mode == actor::Mode::async) return run_async(program, system);
  return run_nn(program, system);
}
