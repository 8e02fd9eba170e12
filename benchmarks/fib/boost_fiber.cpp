// Two fibers per call: fib(18), since each call that waits owns a stack, and the cost of a call.

#include "fib/workload.hpp"
#include "fiber_pool.hpp"

namespace {

int fibonacci(int n) {
  if (n < 2) return n;
  auto x = bench::FiberPool::async(fibonacci, n - 1);
  auto y = bench::FiberPool::async(fibonacci, n - 2);
  return x.get() + y.get();
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fib::kWorkload, "boost_fiber", 18);
  const std::size_t n = program.n();
  bench::FiberPool pool;
  return program.run(fib::expected(n), fib::calls(n), [&] {
    return static_cast<std::uint64_t>(pool.async(fibonacci, static_cast<int>(n)).get());
  });
}
