#pragma once

// The work inside the heavier tasks. It is compiled once, in payload.cpp, and linked to every
// implementation of a workload: compilers differ severalfold on it.

#include <array>
#include <cstddef>
#include <vector>

namespace bench {

using Vector = std::vector<double>;

inline constexpr std::size_t kVectorSize = 1000;

/// 1,000 normal variates; the leaf's number is the seed.
Vector normal_vector(int leaf);

/// 1,000 numbers that cost next to nothing.
Vector cheap_vector(int leaf);

/// x + y, element by element.
Vector add_vectors(const Vector& x, const Vector& y);

/// Columns of the queens in the rows placed so far.
using Board = std::array<signed char, 16>;

/// Whether a queen may stand in `column` of row `row`.
bool queen_fits(const Board& board, int row, int column);

}  // namespace bench
