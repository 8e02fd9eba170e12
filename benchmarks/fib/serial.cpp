// Plain calls, of which the compiler turns one of two into a loop and inlines no other.

#include "fib/workload.hpp"

namespace {

[[gnu::noinline]] int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fib::kWorkload, "serial");
  const std::size_t n = program.n();
  int (*volatile call)(int) = fibonacci;
  return program.run(fib::expected(n), fib::calls(n),
                     [&] { return static_cast<std::uint64_t>(call(static_cast<int>(n))); });
}
