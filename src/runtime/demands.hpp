// What lacks resources, counted by what it asks for: for the status text.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "task/demand.hpp"

namespace ray::detail {

class DemandCounts {
public:
  /// Tasks of one CPU and nothing else, which are many: counted roughly, and shown first.
  void add_plain(std::size_t count) { plain_ += count; }
  /// Lifetime: the demand is kept by its address until text().
  void add(const Demand& demand, bool is_actor);
  /// The others with the most frequent first, one a line: {"CPU": 1, "GPU": 0.5}: 3 pending tasks.
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
  std::size_t plain_ = 0;
};

}  // namespace ray::detail
