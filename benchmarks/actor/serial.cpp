// The methods called on an object.

#include "actor/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, actor::kWorkload, "serial");
  const actor::Mode mode = actor::choose_mode(program);
  const std::size_t n = program.n();
  actor::Counter counter;
  actor::Counter* volatile handle = &counter;
  if (mode == actor::Mode::sync) {
    return program.run_latency(
        actor::expected_results(n), std::chrono::microseconds(0),
        [&](int i) { return handle->add(actor::argument(static_cast<std::size_t>(i))); });
  }
  if (mode == actor::Mode::async) {
    return program.run(actor::expected_total(n), static_cast<double>(n), [&] {
      for (std::size_t i = 0; i < n; ++i) handle->add(actor::argument(i));
      return handle->take_total();
    });
  }
  if (mode == actor::Mode::local) {
    return program.run(actor::expected_results(n), static_cast<double>(n), [&] {
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < n; ++i)
        sum += static_cast<std::uint64_t>(handle->add(actor::argument(i)));
      return sum;
    });
  }
  return program.run(actor::expected_from_callers(n), static_cast<double>(n), [&] {
    std::uint64_t sum = 0;
    for (int caller = 0; caller < actor::kCallers; ++caller)
      for (std::size_t i = 0; i < n / actor::kCallers; ++i)
        sum += static_cast<std::uint64_t>(handle->add(actor::argument(i)));
    return sum;
  });
}
