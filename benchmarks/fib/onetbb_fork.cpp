// As oneTBB is used when a call needs no handle for both halves: one task per call, and the other
// half by the call itself. It does half of what the others do, and is shown beside them.

#include <tbb/task_group.h>

#include "fib/workload.hpp"
#include "tbb_arena.hpp"

namespace {

int fibonacci(int n) {
  if (n < 2) return n;
  int x = 0;
  tbb::task_group group;
  group.run([&x, n] { x = fibonacci(n - 1); });
  const int y = fibonacci(n - 2);
  group.wait();
  return x + y;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fib::kWorkload, "onetbb_fork");
  const std::size_t n = program.n();
  bench::TbbArena arena;
  return program.run(fib::expected(n), fib::calls(n), [&] {
    return static_cast<std::uint64_t>(
        arena->execute([n] { return fibonacci(static_cast<int>(n)); }));
  });
}
