// A fiber per task: a hundredth of the tasks, since each pending one owns a stack.

#include "fiber_pool.hpp"
#include "memory/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, memory::kWorkload, "boost_fiber", memory::kWorkload.n / 100);
  const std::size_t n = program.n();
  bench::FiberPool pool;
  return program.run_memory(memory::expected(n), [&](bench::MemoryMeter& meter) {
    std::vector<boost::fibers::future<int>> blockers;
    for (int i = 0; i < bench::kWorkers; ++i) blockers.push_back(pool.async(memory::block, i));
    memory::wait_until_blocked();
    meter.begin();
    std::vector<boost::fibers::future<int>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(pool.async(memory::work, static_cast<int>(i)));
    meter.end();
    memory::open_gate();
    std::uint64_t sum = 0;
    for (auto& future : futures) sum += static_cast<std::uint64_t>(future.get());
    return sum;
  });
}
