// The clock work of Ray's microbenchmark, with a clock that the test moves.
#include "support/catch.hpp"

#include "../../benchmarks/ray_microbenchmark/timing.hpp"

#include <chrono>

namespace {

using namespace std::chrono_literals;

struct HandClock {
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<HandClock, duration>;
  static inline duration passed{0};
  static inline int looks = 0;
  static time_point now() {
    ++looks;
    return time_point(passed);
  }
};

}  // namespace

TEST_CASE("a row counts whole steps in rounds of at least their time") {
  const microbenchmark::Timing timing{};
  int calls = 0;
  const auto figure = microbenchmark::measure<HandClock>(timing, 1000, [&] {
    ++calls;
    HandClock::passed += 3ms;
  });
  // 334 calls warm up, a step is 34 calls, and 20 steps are the first to take two seconds.
  CHECK(calls == 334 + 4 * 20 * 34);
  REQUIRE(figure.rounds.size() == 4);
  CHECK(figure.mean == Approx(1000 / 0.003));
  CHECK(figure.deviation == Approx(0).margin(1e-6));
  CHECK(HandClock::looks < 334 + 2 + 4 * 24);
}

TEST_CASE("a call longer than a round is one step") {
  microbenchmark::Timing timing = microbenchmark::kQuick;
  int calls = 0;
  const auto figure = microbenchmark::measure<HandClock>(timing, 8, [&] {
    ++calls;
    HandClock::passed += 4s;
  });
  CHECK(calls == 1 + 4);
  CHECK(figure.mean == Approx(2));
}

TEST_CASE("the deviation is that of the rounds as a population") {
  const auto figure = microbenchmark::figure_of({2, 4, 4, 4, 5, 5, 7, 9});
  CHECK(figure.mean == Approx(5));
  CHECK(figure.deviation == Approx(2));
}
