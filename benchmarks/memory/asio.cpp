// post with use_future.

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include "memory/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, memory::kWorkload, "asio");
  const std::size_t n = program.n();
  asio::thread_pool pool(bench::kWorkers);
  return program.run_memory(memory::expected(n), [&](bench::MemoryMeter& meter) {
    std::vector<std::future<int>> blockers;
    for (int i = 0; i < bench::kWorkers; ++i)
      blockers.push_back(asio::post(pool, asio::use_future([i] { return memory::block(i); })));
    memory::wait_until_blocked();
    meter.begin();
    std::vector<std::future<int>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(asio::post(
          pool, asio::use_future([x = static_cast<int>(i)] { return memory::work(x); })));
    meter.end();
    memory::open_gate();
    std::uint64_t sum = 0;
    for (auto& future : futures) sum += static_cast<std::uint64_t>(future.get());
    return sum;
  });
}
