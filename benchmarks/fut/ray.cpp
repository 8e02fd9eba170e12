// A task per int, a vector of references, and a get for each.

#include <ray/ray.hpp>

#include "fut/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fut::kWorkload, "ray");
  const std::size_t n = program.n();
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(fut::expected(n), static_cast<double>(n), [&] {
    std::vector<ray::ObjectRef<int>> refs;
    refs.reserve(n);
    for (std::size_t i = 0; i < n; ++i) refs.push_back(ray::remote<fut::work>(static_cast<int>(i)));
    std::uint64_t sum = 0;
    for (const auto& ref : refs) sum += static_cast<std::uint64_t>(ray::get(ref));
    return sum;
  });
}
