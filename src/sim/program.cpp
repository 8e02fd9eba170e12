#include "sim/program.hpp"

#include <algorithm>

namespace ray::sim {

namespace {

constexpr std::uint64_t kDepthBits = 4;

std::uint64_t depth_of(std::uint64_t program) { return program & ((1U << kDepthBits) - 1); }

std::int32_t some_retries(Random& random) {
  constexpr std::int32_t kRetries[] = {0, 1, 3, -1};
  return kRetries[random.below(4)];
}

void add_steps(Plan& plan, std::uint64_t program, std::uint64_t count, Random& random,
               const ProgramLimits& limits, bool is_driver = false) {
  std::vector<std::size_t> actors;
  std::vector<std::size_t> values;  // Steps whose results can be arguments.
  for (std::uint64_t i = 0; i < count; ++i) {
    Step step;
    step.program = part_of(program, i);
    step.max_retries = limits.rebuilds ? -1 : some_retries(random);
    const std::uint64_t kind = random.below(100);
    if (kind < 15) {
      step.kind = StepKind::put;
      step.large = !limits.rebuilds && random.chance(limits.large * 2);
    } else if (kind < 25 && limits.streams) {
      step.kind = StepKind::stream;
      step.get = true;
      step.unread = static_cast<std::int32_t>(random.below(3));
    } else if (kind < 33 && limits.actors) {
      step.kind = StepKind::actor;
      step.cpu = 0;
      if (random.chance(limits.concurrent)) step.concurrency = random.chance(500) ? 2 : 5;
      if (random.chance(limits.named)) {
        // Who is called must not call itself by that name.
        step.shared = is_driver && random.chance(500);
        step.name = step.shared ? "shared" + std::to_string(random.below(2))
                                : "own" + std::to_string(step.program);
      }
    } else if (kind < 37 && limits.actors) {
      step.kind = StepKind::find;
      step.actor = actors.empty() ? SIZE_MAX : actors[random.below(actors.size())];
      if (step.actor != SIZE_MAX) step.name = plan.steps[step.actor].name;
      if (step.name.empty()) {
        step.actor = SIZE_MAX;
        step.name = "shared" + std::to_string(random.below(2));
      }
    } else if (kind < 62 && !actors.empty()) {
      step.kind = StepKind::call;
      step.actor = actors[random.below(actors.size())];
      step.cpu = 0;
    }
    const bool runs = step.kind == StepKind::task || step.kind == StepKind::call;
    if (runs || step.kind == StepKind::stream) {
      for (std::uint64_t n = random.below(3); n > 0 && !values.empty(); --n) {
        step.needs.push_back(values[random.below(values.size())]);
      }
    }
    if (runs) step.get = random.chance(350);
    if (runs && random.chance(limits.several)) {
      step.results = 1 + static_cast<std::uint32_t>(random.below(3));
    }
    if (step.kind == StepKind::task) {
      step.large = !limits.rebuilds && random.chance(limits.large / 2);
      if (random.chance(80)) step.cpu = 20'000;
      if (random.chance(60)) step.cpu = 5'000;
      if (random.chance(limits.gpu)) step.gpu = true;
    }
    if (step.kind == StepKind::actor) actors.push_back(plan.steps.size());
    if (runs || step.kind == StepKind::put) values.push_back(plan.steps.size());
    if (runs && !step.get && random.chance(600)) plan.gather.push_back(plan.steps.size());
    plan.steps.push_back(std::move(step));
  }
}

}  // namespace

std::uint64_t program_of(std::uint64_t seed, std::uint64_t depth) {
  return (seed << kDepthBits) | depth;
}

std::uint64_t part_of(std::uint64_t program, std::uint64_t index) {
  const std::uint64_t depth = depth_of(program);
  return program_of(mixed(program, index), depth == 0 ? 0 : depth - 1);
}

Plan plan_of(std::uint64_t program, const ProgramLimits& limits) {
  Random random(program);
  Plan plan;
  plan.microseconds = random.chance(100) ? random.below(20'000) : random.below(300);
  plan.throws = random.chance(limits.throwing);
  plan.flaky = !plan.throws && random.chance(limits.throwing);
  plan.large = random.chance(limits.large);
  plan.items = static_cast<std::uint32_t>(random.below(6));
  if (depth_of(program) != 0)
    add_steps(plan, program, random.below(limits.steps + 1), random, limits);
  plan.boxes = !plan.steps.empty() && plan.steps.back().valued() &&
               plan.steps.back().results == detail::kOneResult && random.chance(300);
  plan.coroutine = random.chance(limits.coroutines);
  return plan;
}

Plan driver_plan(std::uint64_t seed, std::uint64_t steps, const ProgramLimits& limits) {
  Random random(seed);
  Plan plan;
  add_steps(plan, program_of(seed, limits.depth), steps, random, limits, true);
  plan.gather.clear();
  return plan;
}

Evaluation evaluate(std::uint64_t program, const Plan& plan, const std::vector<Outcome>& inputs,
                    const ProgramLimits& limits, std::int32_t max_retries, std::uint32_t results) {
  Evaluation all;
  all.steps.resize(plan.steps.size());
  std::uint64_t value = mixed(program, 1);
  std::vector<std::uint64_t>& threw = all.outcome.threw;
  for (const Outcome& input : inputs) {
    threw.insert(threw.end(), input.threw.begin(), input.threw.end());
    value = mixed(value, input.value);
  }
  if (!threw.empty()) return all;
  const auto take = [&](const Step& step, const Outcome& outcome) {
    threw = outcome.failed() ? outcome.threw : outcome.box_threw;
    for (std::uint32_t i = 0; i < step.parts(); ++i) {
      value = mixed(value, part_value(outcome.value, step.results, i));
    }
    if (outcome.boxes) value = mixed(value, outcome.boxed);
  };
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    Outcome& outcome = all.steps[i];
    if (step.kind == StepKind::put) {
      outcome.value = put_value(step.program);
    } else if (step.kind != StepKind::actor && step.kind != StepKind::find) {
      std::vector<Outcome> needs;
      for (const std::size_t need : step.needs) {
        const Step& made = plan.steps[need];
        Outcome& input = needs.emplace_back(all.steps[need]);
        input.value =
            part_value(input.value, made.results, part_needed(step.program, made.parts()));
      }
      const Plan part = plan_of(step.program, limits);
      outcome = evaluate(step.program, part, needs, limits, step.max_retries, step.results).outcome;
      if (step.kind == StepKind::stream && !outcome.failed()) {
        // Read to the end: a box at the end is not looked into.
        std::uint64_t items = mixed(step.program, 2);
        for (std::uint32_t item = 0; item < part.items; ++item) {
          items = mixed(items, item_value(step.program, item));
        }
        outcome = {};
        outcome.value = items;
      }
    }
    if (step.get) take(step, outcome);
    if (!threw.empty()) return all;
  }
  for (const std::size_t i : plan.gather) {
    take(plan.steps[i], all.steps[i]);
    if (!threw.empty()) return all;
  }
  if (plan.throws || (plan.flaky && max_retries == 0)) {
    threw.push_back(program);
    return all;
  }
  all.outcome.value = value;
  if (plan.boxes && results == detail::kOneResult) {
    const Outcome& boxed = all.steps.back();
    all.outcome.boxes = true;
    all.outcome.boxed = boxed.value;
    all.outcome.box_threw = boxed.threw;
  }
  return all;
}

}  // namespace ray::sim
