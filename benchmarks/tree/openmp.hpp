#pragma once

// Recursive: one child as a task, the other by the call itself, and a taskwait.

#include "tree/workload.hpp"

namespace tree {

inline bench::Vector openmp_vector(Leaf leaf, int id, int leaves) {
  if (id < leaves) return leaf(id);
  const Children below = children(id, leaves);
  bench::Vector x;
#pragma omp task shared(x) firstprivate(leaf, below, leaves)
  x = openmp_vector(leaf, below.left, leaves);
  const bench::Vector y = openmp_vector(leaf, below.right, leaves);
#pragma omp taskwait
  return bench::add_vectors(x, y);
}

inline int run_openmp(bench::Program& program, Leaf leaf) {
  const int leaves = static_cast<int>(program.n());
  return program.run(reduce(leaf, leaves), 1, [&] {
    std::uint64_t answer = 0;
#pragma omp parallel num_threads(bench::kWorkers + 1)
#pragma omp single
    answer = digest(openmp_vector(leaf, root(leaves), leaves));
    return answer;
  });
}

}  // namespace tree
