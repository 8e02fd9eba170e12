// A call: what the clock itself costs.

#include "ping/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, ping::kWorkload, "serial");
  int (*volatile call)(int) = ping::work;
  return program.run_latency(ping::expected(program.n()), ping::kNoPause,
                             [&](int i) { return call(i); });
}
