// task_arena::enqueue and a promise per task.

#include "fut/workload.hpp"
#include "tbb_arena.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fut::kWorkload, "onetbb");
  const std::size_t n = program.n();
  bench::TbbArena arena;
  return program.run(fut::expected(n), static_cast<double>(n), [&] {
    std::vector<std::future<int>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(arena.enqueue([](int x) { return fut::work(x); }, static_cast<int>(i)));
    std::uint64_t sum = 0;
    for (auto& future : futures) sum += static_cast<std::uint64_t>(future.get());
    return sum;
  });
}
