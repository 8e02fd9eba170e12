// A fiber per call; the main thread may run it itself while it waits.

#include "fiber_pool.hpp"
#include "ping/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, ping::kColdWorkload, "boost_fiber");
  bench::FiberPool pool;
  return program.run_latency(ping::expected(program.n()), ping::kPause,
                             [&](int i) { return pool.async(ping::work, i).get(); });
}
