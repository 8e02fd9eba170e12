// A thread per task: a hundredth of the tasks, and the cost of one.

#include <future>

#include "fire/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fire::kWorkload, "std_async", fire::kWorkload.n / 100);
  const std::size_t n = program.n();
  std::atomic<std::uint64_t> count{0};
  return program.run(n, static_cast<double>(n), [&] {
    count = 0;
    std::vector<std::future<void>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(std::async(std::launch::async, [&count] { count.fetch_add(1); }));
    for (auto& future : futures) future.get();
    return count.load();
  });
}
