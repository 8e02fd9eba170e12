#pragma once

// A deque, first in, first out, as the tutorial has it.

#include "tree/workload.hpp"

namespace tree {

inline int run_serial(bench::Program& program, Leaf leaf) {
  const int leaves = static_cast<int>(program.n());
  return program.run(reduce(leaf, leaves), 1, [&] { return reduce(leaf, leaves); });
}

}  // namespace tree
