// Two threads per call: fib(14), and the cost of a call.

#include <future>

#include "fib/workload.hpp"

namespace {

int fibonacci(int n) {
  if (n < 2) return n;
  auto x = std::async(std::launch::async, fibonacci, n - 1);
  auto y = std::async(std::launch::async, fibonacci, n - 2);
  return x.get() + y.get();
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fib::kWorkload, "std_async", 14);
  const std::size_t n = program.n();
  return program.run(fib::expected(n), fib::calls(n),
                     [&] { return static_cast<std::uint64_t>(fibonacci(static_cast<int>(n))); });
}
