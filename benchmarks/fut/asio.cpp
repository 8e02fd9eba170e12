// post with use_future.

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include "fut/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fut::kWorkload, "asio");
  const std::size_t n = program.n();
  asio::thread_pool pool(bench::kWorkers);
  return program.run(fut::expected(n), static_cast<double>(n), [&] {
    std::vector<std::future<int>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(
          asio::post(pool, asio::use_future([x = static_cast<int>(i)] { return fut::work(x); })));
    std::uint64_t sum = 0;
    for (auto& future : futures) sum += static_cast<std::uint64_t>(future.get());
    return sum;
  });
}
