#pragma once

// `tree`: the tutorial's reduction: n leaves of 1,000 normal variates, summed two by two, first
// in, first out. `tree_thin`: the same with leaves that cost next to nothing. A value is the time
// for all.
//
// First in, first out gives every vector a number: leaves are 0 … n-1, and inner vector n+j is
// the sum of 2j and 2j+1. Recursive implementations follow these numbers, so that all add the
// same pairs and the answers are equal to the last bit.

#include <bit>
#include <deque>

#include "harness.hpp"
#include "payload.hpp"

namespace tree {

inline constexpr bench::Workload kWorkload{.name = "tree", .unit = "ms", .n = 1024};
inline constexpr bench::Workload kThinWorkload{.name = "tree_thin", .unit = "ms", .n = 1024};

using Leaf = bench::Vector (*)(int);

/// Both children of an inner vector.
struct Children {
  int left;
  int right;
};

inline Children children(int id, int leaves) {
  return {.left = 2 * (id - leaves), .right = 2 * (id - leaves) + 1};
}

inline int root(int leaves) { return 2 * leaves - 2; }

/// One number for a vector: different for a different bit anywhere.
inline std::uint64_t digest(const bench::Vector& values) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (double value : values) hash = (hash ^ std::bit_cast<std::uint64_t>(value)) * 0x100000001b3;
  return hash;
}

inline std::uint64_t reduce(Leaf leaf, int leaves) {
  std::deque<bench::Vector> vectors;
  for (int i = 0; i < leaves; ++i) vectors.push_back(leaf(i));
  while (vectors.size() > 1) {
    vectors.push_back(bench::add_vectors(vectors[0], vectors[1]));
    vectors.pop_front();
    vectors.pop_front();
  }
  return digest(vectors.front());
}

}  // namespace tree
