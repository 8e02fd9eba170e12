// post and a counter that all tasks share.

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

#include "all_done.hpp"
#include "fire/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fire::kWorkload, "asio");
  const std::size_t n = program.n();
  asio::thread_pool pool(bench::kWorkers);
  return program.run(n, static_cast<double>(n), [&] {
    bench::AllDone done(n);
    for (std::size_t i = 0; i < n; ++i) {
      asio::post(pool, [&done] {
        fire::work();
        done.count_down();
      });
    }
    done.wait();
    return fire::take_count();
  });
}
