// Eigen's matrices and arrays as values and arguments of tasks.
#include "support/catch.hpp"

#include <ray/eigen.hpp>
#include <ray/ray.hpp>

#include <complex>
#include <span>
#include <string>

namespace eigen_types {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::MatrixXd product(const Eigen::MatrixXd& left, const Eigen::MatrixXd& right) {
  return left * right;
}
struct Model {
  Eigen::Matrix3d turn;
  Eigen::VectorXcd states;
  Eigen::ArrayXXf weights;
};
Model twice(Model model) {
  model.turn *= 2;
  model.states *= 2;
  model.weights *= 2;
  return model;
}

template <class T>
T there_and_back(const T& value) {
  ray::OutputArchive out(64);
  out(value);
  ray::InputArchive in(out.bytes(), out.beside());
  T read;
  in(read);
  in.finish("there_and_back");
  return read;
}

template <class To, class From>
std::string refused(const From& value) {
  ray::OutputArchive out;
  out(value);
  ray::InputArchive in(out.bytes());
  To read;
  try {
    in(read);
  } catch (const ray::SerializationError& error) {
    return error.what();
  }
  return "read";
}

}  // namespace eigen_types

using namespace eigen_types;

TEST_CASE("matrices are read as they were written, large ones beside the bytes") {
  const Eigen::MatrixXd large = Eigen::MatrixXd::Random(30, 20);
  CHECK(there_and_back(large) == large);
  const RowMajor rows = large;
  CHECK(there_and_back(rows) == rows);
  const Eigen::Vector3i small(1, 2, 3);
  CHECK(there_and_back(small) == small);
  CHECK(there_and_back(Eigen::MatrixXd(0, 5)).cols() == 5);
  ray::OutputArchive out(64);
  out(large);
  CHECK(out.beside().size() == 1);
  CHECK(out.bytes().size() < 32);
}

TEST_CASE("sizes that do not fit are refused") {
  const std::string fixed = refused<Eigen::Matrix3d>(Eigen::MatrixXd(2, 3));
  CHECK(fixed.find("has sizes that its type does not allow") != std::string::npos);
  CHECK(refused<Eigen::Vector3d>(Eigen::MatrixXd(3, 1)) == "read");
  ray::OutputArchive out;
  out.write_size(std::uint64_t{1} << 62);
  out.write_size(4);
  out.write_block("12345678", 8);
  ray::InputArchive in(out.bytes());
  Eigen::MatrixXd read;
  CHECK_THROWS_AS(in(read), ray::SerializationError);
  CHECK(read.size() == 0);
}

TEST_CASE("matrices cross to worker processes and back") {
  ray::Runtime rt({.num_cpus = 1, .isolation = ray::Isolation::processes});
  const Eigen::MatrixXd left = Eigen::MatrixXd::Random(200, 150);
  const Eigen::MatrixXd right = Eigen::MatrixXd::Random(150, 100);
  CHECK(rt.get(rt.remote<product>(rt.put(left), right)).isApprox(left * right));
  Model model{Eigen::Matrix3d::Identity(), Eigen::VectorXcd::Constant(4, {1, 2}),
              Eigen::ArrayXXf::Constant(2, 3, 1.5F)};
  const Model got = rt.get(rt.remote<twice>(model));
  CHECK(got.turn == 2 * model.turn);
  CHECK(got.states == 2 * model.states);
  CHECK((got.weights == 3).all());
}
