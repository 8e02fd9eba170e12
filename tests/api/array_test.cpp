// Array<T>: contiguous numbers that live in the object store.
#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

namespace array_test {

namespace {

double sum_span(std::span<const double> x) { return std::accumulate(x.begin(), x.end(), 0.0); }
double sum(const ray::Array<double>& x) { return sum_span(x); }
ray::Array<double> iota(std::size_t n) {
  ray::Array<double> a(n);
  std::iota(a.begin(), a.end(), 0.0);
  return a;
}
std::uintptr_t place(const ray::Array<double>& x) {
  return reinterpret_cast<std::uintptr_t>(x.data());
}

}  // namespace

TEST_CASE("an array is filled by index, by iteration and as a span") {
  ray::Runtime rt({.num_cpus = 1});
  ray::Array<double> a(4);
  CHECK(a.size() == 4);
  a[0] = 1;
  a.data()[1] = 2;
  const std::span<double> span = a;
  span[2] = 3;
  *(a.end() - 1) = 4;
  CHECK(std::vector<double>(a.begin(), a.end()) == std::vector<double>{1, 2, 3, 4});
  const ray::Array<double>& seen = a;
  const std::span<const double> view = seen;
  CHECK(sum_span(view) == 10);
}

// In threads only: an address says nothing in another process.
TEST_CASE("an array that was put is read in place", "[threads]") {
  ray::Runtime rt({.num_cpus = 2});
  ray::Array<double> a = iota(100'000);
  const double* data = a.data();
  const auto ref = rt.put(std::move(a));
  CHECK(rt.get(ref).data() == data);
  CHECK(rt.get(rt.remote<place>(ref)) == reinterpret_cast<std::uintptr_t>(data));
}

TEST_CASE("an array that was put is read by tasks") {
  ray::Runtime rt({.num_cpus = 2});
  const auto ref = rt.put(iota(100'000));
  CHECK(rt.get(rt.remote<sum>(ref)) == 100'000.0 * 99'999 / 2);
  CHECK(rt.get(ref)[99'999] == 99'999);
}

TEST_CASE("a task returns an array and another reads it") {
  ray::Runtime rt({.num_cpus = 2});
  const auto ref = rt.remote<iota>(std::size_t{1000});
  CHECK(rt.get(rt.remote<sum>(ref)) == 499'500);
  CHECK(rt.get(ref)[999] == 999);
}

TEST_CASE("an array converts to a span of constant values") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.remote<iota>(std::size_t{10});
  const std::span<const double> view = rt.get(ref);
  CHECK(view.size() == 10);
  CHECK(view.back() == 9);
}

TEST_CASE("an array is moved and not copied") {
  static_assert(!std::is_copy_constructible_v<ray::Array<double>>);
  static_assert(std::is_nothrow_move_constructible_v<ray::Array<double>>);
  static_assert(std::is_nothrow_move_assignable_v<ray::Array<double>>);
  ray::Array<int> a(3);
  a[0] = 1;
  ray::Array<int> b = std::move(a);
  CHECK(b[0] == 1);
  CHECK(b.size() == 3);
}

TEST_CASE("an array of nothing is allowed") {
  ray::Runtime rt({.num_cpus = 1});
  const auto ref = rt.put(ray::Array<float>(0));
  CHECK(rt.get(ref).size() == 0);
  CHECK(rt.get(ref).begin() == rt.get(ref).end());
}

TEST_CASE("arrays of every arithmetic type are aligned for their use") {
  ray::Runtime rt({.num_cpus = 1});
  for (std::size_t n : {1U, 3U, 17U, 1000U}) {
    CHECK(reinterpret_cast<std::uintptr_t>(ray::Array<std::uint8_t>(n).data()) % 64 == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(ray::Array<float>(n).data()) % 64 == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(ray::Array<double>(n).data()) % 64 == 0);
  }
}

TEST_CASE("an absurd size of an array is refused and does not crash") {
  ray::Runtime rt({.num_cpus = 1});
  CHECK_THROWS(ray::Array<double>(std::numeric_limits<std::size_t>::max() / 4));
}

}  // namespace array_test
