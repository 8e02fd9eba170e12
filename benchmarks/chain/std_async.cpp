// A thread per task, each waiting for the one before: a thousandth of the tasks, and the cost of
// one.

#include <future>

#include "chain/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, chain::kWorkload, "std_async", chain::kWorkload.n / 1000);
  const std::size_t n = program.n();
  return program.run(n, static_cast<double>(n), [&] {
    std::promise<int> first;
    first.set_value(0);
    std::future<int> r = first.get_future();
    for (std::size_t i = 0; i < n; ++i)
      r = std::async(std::launch::async,
                     [before = std::move(r)]() mutable { return chain::inc(before.get()); });
    return static_cast<std::uint64_t>(r.get());
  });
}
