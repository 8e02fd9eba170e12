// task_arena::enqueue and a counter that all tasks share.

#include "all_done.hpp"
#include "fire/workload.hpp"
#include "tbb_arena.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fire::kWorkload, "onetbb");
  const std::size_t n = program.n();
  bench::TbbArena arena;
  return program.run(n, static_cast<double>(n), [&] {
    bench::AllDone done(n);
    for (std::size_t i = 0; i < n; ++i) {
      arena->enqueue([&done] {
        fire::work();
        done.count_down();
      });
    }
    done.wait();
    return fire::take_count();
  });
}
