// A fiber per task: a hundredth of the tasks, since each pending one owns a stack.

#include "fiber_pool.hpp"
#include "fut/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fut::kWorkload, "boost_fiber", fut::kWorkload.n / 100);
  const std::size_t n = program.n();
  bench::FiberPool pool;
  return program.run(fut::expected(n), static_cast<double>(n), [&] {
    std::vector<boost::fibers::future<int>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(pool.async(fut::work, static_cast<int>(i)));
    std::uint64_t sum = 0;
    for (auto& future : futures) sum += static_cast<std::uint64_t>(future.get());
    return sum;
  });
}
