#include "runtime/references.hpp"

#include <algorithm>

#include "runtime/parts.hpp"
#include "runtime/shared_objects.hpp"

namespace ray::detail {

std::uint64_t References::write(Object* object) {
  const std::uint64_t id = client_.identify(object, aliases_);
  if (std::find(contains_.begin(), contains_.end(), id) == contains_.end()) contains_.push_back(id);
  return id;
}

Object* References::read(std::uint64_t word, Object* (*make)(std::uint64_t id)) {
  const auto [object, fresh] = find_or_enter_shared(client_.engine_index(), word, make);
  if (fresh) client_.want(word);
  return object;
}

}  // namespace ray::detail
