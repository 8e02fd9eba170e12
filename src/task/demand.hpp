// What a task or an actor asks for of a node.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace ray::detail {

/// In 1/10,000 of a unit (Ray's granularity).
struct Demand {
  std::int64_t cpu = 0;
  std::map<std::string, std::int64_t> others;  // "GPU", "memory" and custom ones.

  bool only_cpu() const noexcept { return others.empty(); }
  friend bool operator==(const Demand&, const Demand&) = default;
};

}  // namespace ray::detail
