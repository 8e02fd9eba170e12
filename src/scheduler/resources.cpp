#include "scheduler/resources.hpp"

#include <cmath>
#include <sstream>

#include <ray/error.hpp>

#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr double kUnits = 10'000;

std::string in_words(std::int64_t units) {
  std::ostringstream text;
  text << static_cast<double>(units) / kUnits;
  return text.str();
}

}  // namespace

void require_allowed(double value, const AmountLimits& limits, const std::string& what) {
  if (limits.allow(value)) return;
  std::ostringstream text;
  text << what << " = " << value << ": " << limits.words;
  throw InvalidArgumentError(text.str());
}

std::int64_t to_units(double value, const std::string& what, const AmountLimits& limits) {
  require_allowed(value, limits, what);
  return std::llround(value * kUnits);
}

Demand make_demand(double num_cpus, double num_gpus, double memory,
                   const std::map<std::string, double>& resources, const char* options_name) {
  const std::string prefix = std::string(options_name) + "::";
  Demand demand;
  demand.cpu = to_units(num_cpus, prefix + "num_cpus", kProcessorLimits);
  if (const auto gpus = to_units(num_gpus, prefix + "num_gpus", kProcessorLimits); gpus != 0) {
    demand.others["GPU"] = gpus;
  }
  if (const auto bytes = to_units(memory, prefix + "memory"); bytes != 0) {
    demand.others["memory"] = bytes;
  }
  for (const auto& [name, amount] : resources) {
    if (name.empty() || name.size() > kNameMax || name == "CPU" || name == "GPU" ||
        name == "memory") {
      throw InvalidArgumentError(
          prefix + "resources[\"" + printable(name, 32) +
          "\"]: a custom resource needs a name of 1 to 256 bytes that is not CPU, GPU or memory "
          "(those have fields of their own)");
    }
    const auto units = to_units(amount, prefix + "resources[\"" + printable(name) + "\"]");
    if (units != 0) demand.others[name] = units;
  }
  return demand;
}

std::optional<std::string> ResourceLedger::infeasible(const Demand& demand) const {
  if (demand.cpu > total_.cpu) {
    return "asks for " + in_words(demand.cpu) + " CPUs, and the runtime has " +
           in_words(total_.cpu) + " in all; ask for less or raise RuntimeOptions::num_cpus";
  }
  for (const auto& [name, units] : demand.others) {
    const auto found = total_.others.find(name);
    const std::int64_t there = found == total_.others.end() ? 0 : found->second;
    if (units > there) {
      return "asks for " + in_words(units) + " of resource '" + printable(name) +
             "', and the runtime has " + in_words(there) +
             " in all; ask for less or add it to RuntimeOptions (num_gpus, "
             "resources)";
    }
  }
  return std::nullopt;
}

bool ResourceLedger::try_reserve(const Demand& demand) {
  for (const auto& [name, units] : demand.others) {
    const auto found = available_.find(name);
    if (found == available_.end() || found->second < units) return false;
  }
  for (const auto& [name, units] : demand.others) available_[name] -= units;
  return true;
}

void ResourceLedger::release(const Demand& demand) {
  for (const auto& [name, units] : demand.others) available_[name] += units;
}

}  // namespace ray::detail
