// A fiber per task, each waiting for the one before: a hundredth of the tasks, since each
// pending one owns a stack.

#include "chain/workload.hpp"
#include "fiber_pool.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, chain::kWorkload, "boost_fiber", chain::kWorkload.n / 100);
  const std::size_t n = program.n();
  bench::FiberPool pool;
  return program.run(n, static_cast<double>(n), [&] {
    boost::fibers::promise<int> first;
    first.set_value(0);
    boost::fibers::shared_future<int> r = first.get_future().share();
    for (std::size_t i = 0; i < n; ++i)
      r = pool.async([before = r] { return chain::inc(before.get()); }).share();
    return static_cast<std::uint64_t>(r.get());
  });
}
