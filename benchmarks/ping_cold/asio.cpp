// post with use_future.

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include "ping/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, ping::kColdWorkload, "asio");
  asio::thread_pool pool(bench::kWorkers);
  return program.run_latency(ping::expected(program.n()), ping::kPause, [&](int i) {
    return asio::post(pool, asio::use_future([i] { return ping::work(i); })).get();
  });
}
