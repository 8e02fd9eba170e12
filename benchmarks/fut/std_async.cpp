// A thread per task: a hundredth of the tasks, and the cost of one.

#include <future>

#include "fut/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fut::kWorkload, "std_async", fut::kWorkload.n / 100);
  const std::size_t n = program.n();
  return program.run(fut::expected(n), static_cast<double>(n), [&] {
    std::vector<std::future<int>> futures;
    futures.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      futures.push_back(std::async(std::launch::async, fut::work, static_cast<int>(i)));
    std::uint64_t sum = 0;
    for (auto& future : futures) sum += static_cast<std::uint64_t>(future.get());
    return sum;
  });
}
