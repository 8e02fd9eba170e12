// Eigen's dense matrices and arrays as values and arguments of tasks: not part of ray.hpp. Their
// coefficients travel as one block, beside the message where they are many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <Eigen/Core>

#include <ray/task/archive.hpp>

namespace ray::detail {

/// Matrix and Array own their coefficients; maps, blocks and expressions are views of others'.
template <class T>
struct EigenCodec {
  using Scalar = typename T::Scalar;
  using Index = Eigen::Index;
  static_assert(std::is_trivially_copyable_v<Scalar>,
                "ray: an Eigen matrix leaves the process with numbers only");

  static void write(OutputArchive& out, const T& matrix) {
    out.write_size(static_cast<std::uint64_t>(matrix.rows()));
    out.write_size(static_cast<std::uint64_t>(matrix.cols()));
    out.write_block(matrix.data(), static_cast<std::size_t>(matrix.size()) * sizeof(Scalar));
  }

  static void read(InputArchive& in, T& matrix) {
    constexpr std::uint64_t most = std::numeric_limits<Index>::max();
    const std::uint64_t rows = in.read_size(most, type_text<T>());
    const std::uint64_t columns = in.read_size(most, type_text<T>());
    const auto block = in.read_block(sizeof(Scalar), type_text<T>());
    const std::uint64_t count = block.size() / sizeof(Scalar);
    // No product: it could be too large for its type.
    const bool whole =
        rows == 0 || columns == 0 ? count == 0 : count / columns == rows && count % columns == 0;
    if (!whole) in.fail(type_text<T>(), "has other sizes than coefficients");
    const bool fits = allowed(rows, T::RowsAtCompileTime, T::MaxRowsAtCompileTime) &&
                      allowed(columns, T::ColsAtCompileTime, T::MaxColsAtCompileTime);
    if (!fits) in.fail(type_text<T>(), "has sizes that its type does not allow");
    matrix.resize(static_cast<Index>(rows), static_cast<Index>(columns));
    if (!block.empty()) {
      std::memcpy(static_cast<void*>(matrix.data()), block.data(), block.size());
    }
  }

private:
  static constexpr bool allowed(std::uint64_t size, int fixed, int most) {
    if (fixed != Eigen::Dynamic) return size == static_cast<std::uint64_t>(fixed);
    return most == Eigen::Dynamic || size <= static_cast<std::uint64_t>(most);
  }
};

template <class S, int R, int C, int O, int MR, int MC>
struct Codec<Eigen::Matrix<S, R, C, O, MR, MC>> : EigenCodec<Eigen::Matrix<S, R, C, O, MR, MC>> {};
template <class S, int R, int C, int O, int MR, int MC>
struct Codec<Eigen::Array<S, R, C, O, MR, MC>> : EigenCodec<Eigen::Array<S, R, C, O, MR, MC>> {};

}  // namespace ray::detail
