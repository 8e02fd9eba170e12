// Sums many vectors pairwise: the tutorial's tree reduce. Notice: the loop that builds the tree
// never waits, it only passes references on; all the parallelism comes out of who depends on whom.
// The same additions are then done in plain C++, and both sums must agree to the last bit.
//
//   tree_reduce [--leaves 100] [--size 1000] [--ray-num-cpus N]
#include <ray/ray.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <numeric>
#include <random>
#include <string>
#include <vector>

using Vector = std::vector<double>;
using Clock = std::chrono::steady_clock;

Vector generate_data(unsigned seed, std::size_t size) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  Vector x(size);
  for (double& value : x) value = normal(engine);
  return x;
}

Vector aggregate_data(const Vector& x, const Vector& y) {
  Vector sum(x.size());
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = x[i] + y[i];
  return sum;
}

Vector with_tasks(unsigned leaves, std::size_t size) {
  std::deque<ray::ObjectRef<Vector>> data;
  for (unsigned i = 0; i < leaves; ++i) data.push_back(ray::remote<generate_data>(i, size));
  while (data.size() > 1) {
    data.push_back(ray::remote<aggregate_data>(data[0], data[1]));
    data.pop_front();
    data.pop_front();
  }
  return ray::get(data.front());
}

Vector serially(unsigned leaves, std::size_t size) {
  std::deque<Vector> data;
  for (unsigned i = 0; i < leaves; ++i) data.push_back(generate_data(i, size));
  while (data.size() > 1) {
    data.push_back(aggregate_data(data[0], data[1]));
    data.pop_front();
    data.pop_front();
  }
  return data.front();
}

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

int main(int argc, char** argv) {
  ray::init(argc, argv);  // takes its own --ray-... flags out of argv
  unsigned leaves = 100;
  std::size_t size = 1000;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--leaves") leaves = static_cast<unsigned>(std::atoi(argv[i + 1]));
    if (flag == "--size") size = static_cast<std::size_t>(std::atoi(argv[i + 1]));
  }
  if (leaves == 0 || size == 0) {
    std::fprintf(stderr, "tree_reduce: --leaves and --size must be at least 1\n");
    return 2;
  }

  Clock::time_point start = Clock::now();
  const Vector sum = with_tasks(leaves, size);
  const double ray_ms = milliseconds_since(start);
  start = Clock::now();
  const Vector expected = serially(leaves, size);
  const double serial_ms = milliseconds_since(start);

  const double mean = std::accumulate(sum.begin(), sum.end(), 0.0) / static_cast<double>(size);
  std::printf("%u vectors of %zu, mean of the sum %.6f\n", leaves, size, mean);
  std::printf("tasks  %.2f ms\nserial %.2f ms\n", ray_ms, serial_ms);
  std::printf("%s\n", sum == expected ? "equal" : "WRONG: the sums differ");
  return sum == expected ? 0 : 1;
}
