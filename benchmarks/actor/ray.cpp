// remote<&Counter::add>(handle, x).

#include <ray/ray.hpp>

#include "actor/workload.hpp"

namespace {

using Counter = ray::ActorHandle<actor::Counter>;

std::uint64_t call_one_by_one(Counter counter, std::size_t calls) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < calls; ++i)
    sum += static_cast<std::uint64_t>(
        ray::get(ray::remote<&actor::Counter::add>(counter, actor::argument(i))));
  return sum;
}

std::uint64_t call_in_batches(const std::vector<Counter>& counters, std::size_t calls) {
  std::uint64_t sum = 0;
  std::vector<ray::ObjectRef<int>> results;
  for (std::size_t i = 0; i < calls; ++i) {
    results.push_back(
        ray::remote<&actor::Counter::add>(counters[i % counters.size()], actor::argument(i)));
    if (results.size() < actor::kBatch && i + 1 < calls) continue;
    for (int result : ray::get(results)) sum += static_cast<std::uint64_t>(result);
    results.clear();
  }
  return sum;
}

int run_sync(bench::Program& program) {
  const Counter counter = ray::actor<actor::Counter>();
  return program.run_latency(actor::expected_results(program.n()), std::chrono::microseconds(0),
                             [&](int i) {
                               return ray::get(ray::remote<&actor::Counter::add>(
                                   counter, actor::argument(static_cast<std::size_t>(i))));
                             });
}

int run_local(bench::Program& program) {
  const std::size_t n = program.n();
  const Counter counter = ray::actor<actor::Counter>();
  return program.run(actor::expected_results(n), static_cast<double>(n),
                     [&] { return ray::get(ray::remote<call_one_by_one>(counter, n)); });
}

int run_async(bench::Program& program) {
  const std::size_t n = program.n();
  const Counter counter = ray::actor<actor::Counter>();
  return program.run(actor::expected_total(n), static_cast<double>(n), [&] {
    for (std::size_t i = 0; i < n; ++i)
      ray::remote<&actor::Counter::add>(counter, actor::argument(i));
    return ray::get(ray::remote<&actor::Counter::take_total>(counter));
  });
}

int run_nn(bench::Program& program) {
  const std::size_t n = program.n();
  std::vector<Counter> counters;
  for (int i = 0; i < actor::kActors; ++i) counters.push_back(ray::actor<actor::Counter>());
  return program.run(actor::expected_from_callers(n), static_cast<double>(n), [&] {
    std::vector<ray::ObjectRef<std::uint64_t>> callers;
    for (int i = 0; i < actor::kCallers; ++i)
      callers.push_back(ray::remote<call_in_batches>(counters, n / actor::kCallers));
    std::uint64_t sum = 0;
    for (const auto& caller : callers) sum += ray::get(caller);
    return sum;
  });
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, actor::kWorkload, "ray");
  const actor::Mode mode = actor::choose_mode(program);
  ray::init({.num_cpus = bench::kWorkers});
  if (mode == actor::Mode::sync) return run_sync(program);
  if (mode == actor::Mode::local) return run_local(program);
  if (mode == actor::Mode::async) return run_async(program);
  return run_nn(program);
}
