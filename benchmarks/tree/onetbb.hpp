#pragma once

// Recursive: a task_group per inner vector, one child as a task, the other by the call itself.

#include <tbb/task_group.h>

#include "tbb_arena.hpp"
#include "tree/workload.hpp"

namespace tree {

inline bench::Vector tbb_vector(Leaf leaf, int id, int leaves) {
  if (id < leaves) return leaf(id);
  const auto [left, right] = children(id, leaves);
  bench::Vector x;
  tbb::task_group group;
  group.run([&x, leaf, left = left, leaves] { x = tbb_vector(leaf, left, leaves); });
  const bench::Vector y = tbb_vector(leaf, right, leaves);
  group.wait();
  return bench::add_vectors(x, y);
}

inline int run_onetbb(bench::Program& program, Leaf leaf) {
  const int leaves = static_cast<int>(program.n());
  bench::TbbArena arena;
  return program.run(reduce(leaf, leaves), 1, [&] {
    return arena->execute([&] { return digest(tbb_vector(leaf, root(leaves), leaves)); });
  });
}

}  // namespace tree
