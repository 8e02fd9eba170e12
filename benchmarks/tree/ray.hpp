#pragma once

// The tutorial's program: a deque of references, first in, first out.

#include <ray/ray.hpp>

#include "tree/workload.hpp"

namespace tree {

template <Leaf leaf>
int run_ray(bench::Program& program) {
  const int leaves = static_cast<int>(program.n());
  ray::init({.num_cpus = bench::kWorkers});
  return program.run(reduce(leaf, leaves), 1, [&] {
    std::deque<ray::ObjectRef<bench::Vector>> vectors;
    for (int i = 0; i < leaves; ++i) vectors.push_back(ray::remote<leaf>(i));
    while (vectors.size() > 1) {
      vectors.push_back(ray::remote<bench::add_vectors>(vectors[0], vectors[1]));
      vectors.pop_front();
      vectors.pop_front();
    }
    return digest(ray::get(vectors.front()));
  });
}

}  // namespace tree
