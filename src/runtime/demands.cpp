#include "runtime/demands.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <ray/runtime/engine.hpp>

#include "task/text.hpp"

namespace ray::detail {

namespace {

constexpr std::size_t kShapesMax = 10;

/// A demand as a person reads it: {"CPU": 1, "GPU": 0.5}.
std::string shape(const Demand& demand) {
  const auto part = [](std::string_view name, std::int64_t units) {
    char text[40];
    std::snprintf(text, sizeof text, ": %.15g",
                  static_cast<double>(units) / static_cast<double>(kCpuUnit));
    return json_string(printable(name)) + text;
  };
  std::string text = demand.cpu != 0 ? part("CPU", demand.cpu) : "";
  for (const auto& [name, units] : demand.others) {
    text += (text.empty() ? "" : ", ") + part(name, units);
  }
  return "{" + text + "}";
}

/// "3 pending tasks", for what = "task".
std::string pending_text(std::size_t count, const std::string& what) {
  return std::to_string(count) + " pending " + what + (count == 1 ? "" : "s");
}

}  // namespace

bool DemandCounts::Less::operator()(const Demand* left, const Demand* right) const {
  return std::tie(left->cpu, left->others) < std::tie(right->cpu, right->others);
}

void DemandCounts::add(const Demand& demand, bool is_actor) {
  Askers& askers = by_shape_[&demand];
  ++(is_actor ? askers.actors : askers.tasks);
}

std::string DemandCounts::text() const {
  std::vector<std::pair<std::string, Askers>> all;
  all.reserve(by_shape_.size());
  for (const auto& [demand, askers] : by_shape_) all.emplace_back(shape(*demand), askers);
  std::stable_sort(all.begin(), all.end(), [](const auto& left, const auto& right) {
    const auto count = [](const Askers& askers) { return askers.tasks + askers.actors; };
    return count(left.second) > count(right.second);
  });
  std::string text;
  if (plain_ != 0) text = "  {\"CPU\": 1}: about " + pending_text(plain_, "plain task") + "\n";
  for (std::size_t i = 0; i < all.size() && i < kShapesMax; ++i) {
    const Askers& askers = all[i].second;
    text += "  " + all[i].first + ": ";
    if (askers.tasks != 0) text += pending_text(askers.tasks, "task");
    if (askers.tasks != 0 && askers.actors != 0) text += ", ";
    if (askers.actors != 0) text += pending_text(askers.actors, "actor");
    text += "\n";
  }
  if (all.size() > kShapesMax) {
    text += "  … and " + std::to_string(all.size() - kShapesMax) + " more shapes\n";
  }
  return text;
}

}  // namespace ray::detail
