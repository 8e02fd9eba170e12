// A fiber per task and a future for each: a hundredth of the tasks, since each pending one
// owns a stack.

#include "fiber_pool.hpp"
#include "fire/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fire::kWorkload, "boost_fiber", fire::kWorkload.n / 100);
  const std::size_t n = program.n();
  bench::FiberPool pool;
  return program.run(n, static_cast<double>(n), [&] {
    std::vector<boost::fibers::future<void>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i) futures.push_back(pool.async(fire::work));
    for (auto& future : futures) future.get();
    return fire::take_count();
  });
}
