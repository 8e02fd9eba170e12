// task_arena::enqueue and a promise.

#include "ping/workload.hpp"
#include "tbb_arena.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, ping::kColdWorkload, "onetbb");
  bench::TbbArena arena;
  return program.run_latency(ping::expected(program.n()), ping::kPause, [&](int i) {
    return arena.enqueue([](int x) { return ping::work(x); }, i).get();
  });
}
