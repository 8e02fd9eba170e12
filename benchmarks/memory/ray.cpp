// A vector of references.

#include <ray/ray.hpp>

#include "memory/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, memory::kWorkload, "ray");
  const std::size_t n = program.n();
  ray::init({.num_cpus = bench::kWorkers});
  return program.run_memory(memory::expected(n), [&](bench::MemoryMeter& meter) {
    std::vector<ray::ObjectRef<int>> blockers;
    for (int i = 0; i < bench::kWorkers; ++i) blockers.push_back(ray::remote<memory::block>(i));
    memory::wait_until_blocked();
    meter.begin();
    std::vector<ray::ObjectRef<int>> refs;
    refs.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      refs.push_back(ray::remote<memory::work>(static_cast<int>(i)));
    meter.end();
    memory::open_gate();
    std::uint64_t sum = 0;
    for (const auto& ref : refs) sum += static_cast<std::uint64_t>(ray::get(ref));
    return sum;
  });
}
