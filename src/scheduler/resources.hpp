// What a node has and what tasks hold, apart from CPU slots (those are counted by the runtime,
// because plain tasks take them without a lock). A decider: no thread, lock or clock of its own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <ray/options.hpp>

#include "task/demand.hpp"

namespace ray::detail {

/// How much of something there may be, or be asked for: 0, or from `least` to `most`. `words` is
/// how every refusal says it, wherever the number came from.
struct AmountLimits {
  double least;
  double most;
  const char* words;

  bool allow(double value) const noexcept {
    return value == 0 || (value >= least && value <= most);
  }
};
/// RuntimeOptions::num_cpus.
inline constexpr AmountLimits kSlotLimits{
    1, 1e6, "must be a number from 1 to 1e6 (a plain task takes 1), or 0 for all hardware threads"};
/// num_cpus of tasks and actors, and num_gpus.
inline constexpr AmountLimits kProcessorLimits{0, 1e6, "must be a number from 0 to 1e6"};
/// Memory and custom resources. Beyond any memory in bytes; sums do not overflow.
inline constexpr AmountLimits kAmountLimits{0, 1e14, "must be a number from 0 to 1e14"};
/// Of memory, above which a worker goes.
inline constexpr AmountLimits kShareLimits{0.01, 1,
                                           "must be a number from 0.01 to 1, or 0 for 0.95"};

/// Throws InvalidArgumentError that names `what`, its value and the limits.
void require_allowed(double value, const AmountLimits& limits, const std::string& what);

/// Checks the fields and turns them into a demand. Throws InvalidArgumentError that names the
/// field and its value.
Demand make_demand(double num_cpus, double num_gpus, double memory,
                   const std::map<std::string, double>& resources, const char* options_name);

/// `value` in 1/10,000. Throws InvalidArgumentError unless the limits allow it.
std::int64_t to_units(double value, const std::string& what,
                      const AmountLimits& limits = kAmountLimits);

/// Invariant: 0 <= available[r] <= total[r] for each resource.
class ResourceLedger {
public:
  explicit ResourceLedger(Demand total) : total_(total), available_(std::move(total.others)) {}

  /// Nothing, or what the node can never give, in words.
  std::optional<std::string> infeasible(const Demand& demand) const;
  /// Takes all of the non-CPU part, or nothing.
  bool try_reserve(const Demand& demand);
  void release(const Demand& demand);

  const Demand& total() const noexcept { return total_; }
  const std::map<std::string, std::int64_t>& available() const noexcept { return available_; }

private:
  Demand total_;
  std::map<std::string, std::int64_t> available_;
};

}  // namespace ray::detail
