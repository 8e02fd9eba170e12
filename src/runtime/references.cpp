#include "runtime/references.hpp"

#include <algorithm>

#include "runtime/parts.hpp"
#include "runtime/shared_objects.hpp"

namespace ray::detail {

std::uint64_t References::write(Object* object) {
  const std::uint64_t id = client_.identify(object, aliases_);
  contain(id);
  return id;
}

void References::contain(std::uint64_t id) {
  if (contains_.empty() || contains_.back() != id) contains_.push_back(id);
}

std::vector<std::uint64_t> References::take_contains() {
  std::sort(contains_.begin(), contains_.end());
  contains_.erase(std::unique(contains_.begin(), contains_.end()), contains_.end());
  return std::move(contains_);
}

Object* References::read(std::uint64_t word, Object* (*make)(std::uint64_t id)) {
  const auto [object, fresh] = find_or_enter_shared(client_.engine_index(), word, make);
  if (fresh) client_.want(word);
  return object;
}

}  // namespace ray::detail
