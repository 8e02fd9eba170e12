#pragma once

// Recursive: a thread per vector, except that each call computes one child itself.

#include <future>

#include "tree/workload.hpp"

namespace tree {

inline bench::Vector async_vector(Leaf leaf, int id, int leaves) {
  if (id < leaves) return leaf(id);
  const auto [left, right] = children(id, leaves);
  auto x = std::async(std::launch::async, async_vector, leaf, left, leaves);
  const bench::Vector y = async_vector(leaf, right, leaves);
  return bench::add_vectors(x.get(), y);
}

inline int run_std_async(bench::Program& program, Leaf leaf) {
  const int leaves = static_cast<int>(program.n());
  return program.run(reduce(leaf, leaves), 1,
                     [&] { return digest(async_vector(leaf, root(leaves), leaves)); });
}

}  // namespace tree
