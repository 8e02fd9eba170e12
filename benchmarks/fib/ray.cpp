// Two tasks per call, and a get of both.

#include <ray/ray.hpp>

#include "fib/workload.hpp"

namespace {

int fibonacci(int n) {
  if (n < 2) return n;
  auto x = ray::remote<fibonacci>(n - 1);
  auto y = ray::remote<fibonacci>(n - 2);
  return ray::get(x) + ray::get(y);
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fib::kWorkload, "ray");
  const std::size_t n = program.n();
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(fib::expected(n), fib::calls(n), [&] {
    return static_cast<std::uint64_t>(ray::get(ray::remote<fibonacci>(static_cast<int>(n))));
  });
}
