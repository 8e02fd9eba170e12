#include "payload.hpp"

#include <algorithm>
#include <functional>
#include <random>

namespace bench {

Vector normal_vector(int leaf) {
  std::mt19937_64 engine(static_cast<std::mt19937_64::result_type>(leaf) + 1);
  std::normal_distribution<double> normal;
  Vector values(kVectorSize);
  for (double& value : values) value = normal(engine);
  return values;
}

Vector cheap_vector(int leaf) {
  Vector values(kVectorSize);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(leaf) + static_cast<double>(i);
  return values;
}

Vector add_vectors(const Vector& x, const Vector& y) {
  Vector sum(x.size());
  std::transform(x.begin(), x.end(), y.begin(), sum.begin(), std::plus<>{});
  return sum;
}

bool queen_fits(const Board& board, int row, int column) {
  for (int above = 0; above < row; ++above) {
    const int other = board[static_cast<std::size_t>(above)];
    const int distance = row - above;
    if (other == column || other == column - distance || other == column + distance) return false;
  }
  return true;
}

}  // namespace bench
