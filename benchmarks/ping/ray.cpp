// get(remote<work>(i)).

#include <ray/ray.hpp>

#include "ping/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, ping::kWorkload, "ray");
  ray::init({.num_cpus = bench::kWorkers});
  return program.run_latency(ping::expected(program.n()), ping::kNoPause,
                             [&](int i) { return ray::get(ray::remote<ping::work>(i)); });
}
