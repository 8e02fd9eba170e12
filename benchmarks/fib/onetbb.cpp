// A task_group per call with two tasks in it.

#include <tbb/task_group.h>

#include "fib/workload.hpp"
#include "tbb_arena.hpp"

namespace {

int fibonacci(int n) {
  if (n < 2) return n;
  int x = 0;
  int y = 0;
  tbb::task_group group;
  group.run([&x, n] { x = fibonacci(n - 1); });
  group.run([&y, n] { y = fibonacci(n - 2); });
  group.wait();
  return x + y;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fib::kWorkload, "onetbb");
  const std::size_t n = program.n();
  bench::TbbArena arena;
  return program.run(fib::expected(n), fib::calls(n), [&] {
    return static_cast<std::uint64_t>(
        arena->execute([n] { return fibonacci(static_cast<int>(n)); }));
  });
}
