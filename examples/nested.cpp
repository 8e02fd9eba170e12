// Tasks that start tasks: five experiments, each of which runs ten sub-experiments and waits for
// them. Notice: run_experiment() calls get() inside a task. A worker that waits there lends its
// place to others, so this ends even with --ray-num-cpus 1.
#include <ray/ray.hpp>

#include <cstdio>
#include <vector>

int sub_experiment(int i, int j) { return i + j; }

int run_experiment(int i) {
  std::vector<ray::ObjectRef<int>> parts;
  for (int j = 0; j < 10; ++j) parts.push_back(ray::remote<sub_experiment>(i, j));
  int sum = 0;
  for (int part : ray::get(parts)) sum += part;
  return sum;
}

int main(int argc, char** argv) {
  ray::init(argc, argv);

  std::vector<ray::ObjectRef<int>> experiments;
  for (int i = 0; i < 5; ++i) experiments.push_back(ray::remote<run_experiment>(i));
  const std::vector<int> results = ray::get(experiments);

  const char* separator = "[";
  for (int result : results) {
    std::printf("%s%d", separator, result);
    separator = ", ";
  }
  std::printf("]\n");
  return results == std::vector<int>{45, 55, 65, 75, 85} ? 0 : 1;
}
