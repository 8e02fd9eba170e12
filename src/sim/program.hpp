// What simulated tasks do, and what must come of it. All of it is a pure function of a number, the
// task's program: so a task that runs again does the same, and the right answer is known without
// running anything.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ray/sim/simulator.hpp>

#include "task/messages.hpp"

namespace ray::sim {

/// A small generator of random numbers (SplitMix64).
class Random {
public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    return detail::mix64(state_);
  }
  std::uint64_t below(std::uint64_t end) { return end == 0 ? 0 : next() % end; }
  /// True `times` in 1,000.
  bool chance(std::uint64_t times) { return below(1000) < times; }

private:
  std::uint64_t state_;
};

enum class StepKind : std::uint8_t { task, put, stream, actor, call, find };

struct Step {
  StepKind kind = StepKind::task;
  std::uint64_t program = 0;
  std::vector<std::size_t> needs;  // Earlier steps whose results are arguments.
  std::size_t actor = 0;  // call, find: the step that made it. SIZE_MAX: it may be somebody's.
  bool get = false;       // Its result is waited for at once.
  bool large = false;     // put: in the store. task: its arguments are.
  std::int32_t max_retries = 0;
  std::int64_t cpu = 10'000;
  bool gpu = false;
  std::uint32_t results = detail::kOneResult;
  std::string name;              // actor, find: empty if it has none.
  bool shared = false;           // actor: whoever comes first makes it, the others find it.
  std::int32_t concurrency = 1;  // actor: calls at a time.
  std::int32_t unread = 0;       // stream: so many items may be unread; 0: any number.

  std::uint32_t parts() const { return results == detail::kOneResult ? 1 : results; }
  /// It has a value for who asks.
  bool valued() const { return kind <= StepKind::put || kind == StepKind::call; }
};

struct Plan {
  std::vector<Step> steps;
  std::vector<std::size_t> gather;  // Steps whose results are waited for together at the end.
  std::uint64_t microseconds = 0;
  std::uint32_t items = 0;  // As a stream.
  bool throws = false;
  bool flaky = false;      // It throws on its first attempt only, and asks for another.
  bool large = false;      // Its result goes into the store.
  bool boxes = false;      // Its result refers to the result of its last step.
  bool coroutine = false;  // It holds no worker while it waits.
};

/// The program of a part of another one; one step less deep.
std::uint64_t program_of(std::uint64_t seed, std::uint64_t depth);
std::uint64_t part_of(std::uint64_t program, std::uint64_t index);
Plan plan_of(std::uint64_t program, const ProgramLimits& limits);
/// What the driver does.
Plan driver_plan(std::uint64_t seed, std::uint64_t steps, const ProgramLimits& limits);

/// A value, or the programs one of which threw: of several arguments that fail any one may be the
/// first.
struct Outcome {
  std::uint64_t value = 0;
  std::vector<std::uint64_t> threw;  // None: it is a value.
  bool boxes = false;
  std::uint64_t boxed = 0;               // The value in the box,
  std::vector<std::uint64_t> box_threw;  // or why there is none.
  bool failed() const { return !threw.empty(); }
};

constexpr std::uint64_t mixed(std::uint64_t left, std::uint64_t right) {
  return detail::mix64(left * 0x9e3779b97f4a7c15ULL + right + 1);
}
constexpr std::uint64_t put_value(std::uint64_t program) { return mixed(program, 0x907); }
constexpr std::uint64_t item_value(std::uint64_t program, std::uint64_t item) {
  return mixed(program, 0x17e3 + item);
}
/// One of several results of a task that computed `value`.
constexpr std::uint64_t part_value(std::uint64_t value, std::uint32_t results, std::uint32_t part) {
  return results == detail::kOneResult ? value : mixed(value, 0x9a27 + part);
}
/// Which of the results of an earlier step a step takes as its argument.
constexpr std::uint32_t part_needed(std::uint64_t program, std::uint32_t parts) {
  return static_cast<std::uint32_t>(program / 64 % parts);
}

/// What the steps make, and what the whole returns.
struct Evaluation {
  std::vector<Outcome> steps;
  Outcome outcome;
};
Evaluation evaluate(std::uint64_t program, const Plan& plan, const std::vector<Outcome>& inputs,
                    const ProgramLimits& limits, std::int32_t max_retries,
                    std::uint32_t results = detail::kOneResult);

}  // namespace ray::sim
