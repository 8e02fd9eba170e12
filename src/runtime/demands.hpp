// What lacks resources, counted by what it asks for: for the status text.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "task/demand.hpp"

namespace ray::detail {

class DemandCounts {
public:
  /// Lifetime: the demand is kept by its address until text().
  void add(const Demand& demand, bool is_actor);
  /// The most frequent first, one a line: {"CPU": 1, "GPU": 0.5}: 3 pending tasks.
  std::string text() const;

private:
  struct Less {
    bool operator()(const Demand* left, const Demand* right) const;
  };
  struct Askers {
    std::size_t tasks = 0;
    std::size_t actors = 0;
  };
  std::map<const Demand*, Askers, Less> by_shape_;
};

/// "3 pending tasks", for what = "task".
std::string pending_text(std::size_t count, const std::string& what);

}  // namespace ray::detail
