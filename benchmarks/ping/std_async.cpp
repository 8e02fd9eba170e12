// A thread per call.

#include <future>

#include "ping/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, ping::kWorkload, "std_async");
  return program.run_latency(ping::expected(program.n()), ping::kNoPause, [&](int i) {
    return std::async(std::launch::async, ping::work, i).get();
  });
}
