#pragma once

// `actor`: calls to a counter that belongs to one actor, in four modes.
//
// sync:  the main thread calls and fetches, back to back; a value is the time for one (us).
// local: the same by a caller inside the pool (a task, or an actor); us.
// async: n calls by the main thread whose results nobody wants, then one that reads the total; a
//        value is the time per call (ns; 1,000 divided by it is millions of calls a second).
// nn:    two callers inside the pool, each of which makes n / 2 calls, in turn to two actors, a
//        hundred at a time, and fetches all results; a value is the time per call (ns).

#include "harness.hpp"

namespace actor {

inline constexpr bench::Workload kWorkload{.name = "actor", .unit = "ns", .n = 200'000};
inline constexpr int kActors = 2;
inline constexpr int kCallers = 2;
inline constexpr std::size_t kBatch = 100;

/// What every implementation keeps inside its actor.
class Counter {
public:
  int add(int x) {
    total_ += static_cast<std::uint64_t>(x);
    return x + 1;
  }

  std::uint64_t take_total() { return std::exchange(total_, 0); }

private:
  std::uint64_t total_ = 0;
};

/// What add() is to be called with, and what the sums are then.
inline int argument(std::size_t i) { return static_cast<int>(i % 1000); }

inline std::uint64_t expected_total(std::size_t n) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<std::uint64_t>(argument(i));
  return sum;
}

/// The sum of all results of add().
inline std::uint64_t expected_results(std::size_t n) { return expected_total(n) + n; }

/// The same for `nn`, where each caller counts for itself.
inline std::uint64_t expected_from_callers(std::size_t n) {
  return kCallers * expected_results(n / kCallers);
}

enum class Mode { sync, local, async, nn };

/// What --mode says, and the unit of its values.
inline Mode choose_mode(bench::Program& program) {
  const std::string_view mode = program.mode("sync");
  if (mode == "async") return Mode::async;
  if (mode == "nn") return Mode::nn;
  program.set_unit("us");
  if (mode == "local") return Mode::local;
  return Mode::sync;
}

}  // namespace actor
