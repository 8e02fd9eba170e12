// task_arena::enqueue and a promise.

#include "ping/workload.hpp"
#include "tbb_arena.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, ping::kWorkload, "onetbb");
  bench::TbbArena arena;
  return program.run_latency(ping::expected(program.n()), ping::kNoPause, [&](int i) {
    return arena.enqueue([](int x) { return ping::work(x); }, i).get();
  });
}
