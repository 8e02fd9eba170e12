// Tables by id. Ids are hashes already (ray/ids.hpp), so they are not hashed again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "task/slab_allocator.hpp"

namespace ray::detail {

struct IdHash {
  std::size_t operator()(std::uint64_t id) const noexcept { return static_cast<std::size_t>(id); }
};

template <class T>
using IdMap = std::unordered_map<std::uint64_t, T, IdHash, std::equal_to<>,
                                 SlabAllocator<std::pair<const std::uint64_t, T>>>;
template <class T>
using IdMultimap = std::unordered_multimap<std::uint64_t, T, IdHash, std::equal_to<>,
                                           SlabAllocator<std::pair<const std::uint64_t, T>>>;
using IdSet = std::unordered_set<std::uint64_t, IdHash>;

}  // namespace ray::detail
