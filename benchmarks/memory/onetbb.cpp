// task_arena::enqueue and a promise per task.

#include "memory/workload.hpp"
#include "tbb_arena.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, memory::kWorkload, "onetbb");
  const std::size_t n = program.n();
  bench::TbbArena arena;
  return program.run_memory(memory::expected(n), [&](bench::MemoryMeter& meter) {
    std::vector<std::future<int>> blockers;
    for (int i = 0; i < bench::kWorkers; ++i)
      blockers.push_back(arena.enqueue([](int x) { return memory::block(x); }, i));
    memory::wait_until_blocked();
    meter.begin();
    std::vector<std::future<int>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(arena.enqueue([](int x) { return memory::work(x); }, static_cast<int>(i)));
    meter.end();
    memory::open_gate();
    std::uint64_t sum = 0;
    for (auto& future : futures) sum += static_cast<std::uint64_t>(future.get());
    return sum;
  });
}
