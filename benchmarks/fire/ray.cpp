// A vector of references to nothing, and one get for all.

#include <ray/ray.hpp>

#include "fire/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fire::kWorkload, "ray");
  const std::size_t n = program.n();
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(n, static_cast<double>(n), [&] {
    std::vector<ray::ObjectRef<void>> refs;
    refs.reserve(n);
    for (std::size_t i = 0; i < n; ++i) refs.push_back(ray::remote<fire::work>());
    ray::get(refs);
    return fire::take_count();
  });
}
