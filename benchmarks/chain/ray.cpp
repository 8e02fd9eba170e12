// r = remote<inc>(r).

#include <ray/ray.hpp>

#include "chain/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, chain::kWorkload, "ray");
  const std::size_t n = program.n();
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(n, static_cast<double>(n), [&] {
    ray::ObjectRef<int> r = ray::put(0);
    for (std::size_t i = 0; i < n; ++i) r = ray::remote<chain::inc>(r);
    return static_cast<std::uint64_t>(ray::get(r));
  });
}
