#pragma once

// How Ray's microbenchmark times a row (its `timeit`): calls for a second to warm up, then four
// rounds of whole steps until two seconds are over. A step is a tenth of the calls of the warm-up,
// so that the clock is hardly looked at.

#include <chrono>
#include <cmath>
#include <cstdint>
#include <vector>

namespace microbenchmark {

struct Timing {
  std::chrono::nanoseconds pause = std::chrono::seconds(10);  // Before a row, for what went before.
  std::chrono::nanoseconds warm_up = std::chrono::seconds(1);
  std::chrono::nanoseconds round = std::chrono::seconds(2);  // At least so long.
  int rounds = 4;
};

/// To see that everything runs; not for figures.
inline constexpr Timing kQuick{.pause = std::chrono::nanoseconds(0),
                               .warm_up = std::chrono::milliseconds(50),
                               .round = std::chrono::milliseconds(100),
                               .rounds = 4};

struct Figure {
  double mean = 0;
  double deviation = 0;        // Of the rounds as a population, as numpy's std.
  std::vector<double> rounds;  // Each: how many per second.
};

inline Figure figure_of(std::vector<double> rounds) {
  Figure figure{.rounds = std::move(rounds)};
  const auto count = static_cast<double>(figure.rounds.size());
  for (const double round : figure.rounds) figure.mean += round / count;
  double variance = 0;
  for (const double round : figure.rounds)
    variance += (round - figure.mean) * (round - figure.mean) / count;
  figure.deviation = std::sqrt(variance);
  return figure;
}

/// `multiplier` is how many operations one call stands for.
template <class Clock, class Call>
Figure measure(const Timing& timing, double multiplier, Call&& call) {
  std::uint64_t warm_up_calls = 0;
  for (const auto start = Clock::now(); Clock::now() - start < timing.warm_up; ++warm_up_calls)
    call();
  const std::uint64_t step = warm_up_calls / 10 + 1;

  std::vector<double> rounds;
  for (int round = 0; round < timing.rounds; ++round) {
    const auto start = Clock::now();
    std::uint64_t calls = 0;
    while (Clock::now() - start < timing.round) {
      for (std::uint64_t i = 0; i < step; ++i) call();
      calls += step;
    }
    const std::chrono::duration<double> seconds = Clock::now() - start;
    rounds.push_back(multiplier * static_cast<double>(calls) / seconds.count());
  }
  return figure_of(std::move(rounds));
}

}  // namespace microbenchmark
