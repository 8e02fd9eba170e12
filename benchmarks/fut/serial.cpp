// The same n calls through a volatile function pointer, so that they remain calls.

#include "fut/workload.hpp"

int main(int argc, char** argv) {
  bench::Program program(argc, argv, fut::kWorkload, "serial");
  const std::size_t n = program.n();
  int (*volatile call)(int) = fut::work;
  return program.run(fut::expected(n), static_cast<double>(n), [&] {
    std::vector<int> results;
    results.reserve(n);
    for (std::size_t i = 0; i < n; ++i) results.push_back(call(static_cast<int>(i)));
    std::uint64_t sum = 0;
    for (int result : results) sum += static_cast<std::uint64_t>(result);
    return sum;
  });
}
