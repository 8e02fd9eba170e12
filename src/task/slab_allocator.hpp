// The slab (ray/task/slab.hpp) for the standard's containers: for what is made and freed with each
// task.
#pragma once

#include <cstddef>
#include <new>

#include <ray/task/slab.hpp>

namespace ray::detail {

template <class T>
struct SlabAllocator {
  using value_type = T;
  static_assert(alignof(T) <= kSlabGranule);

  SlabAllocator() = default;
  template <class Other>
  SlabAllocator(const SlabAllocator<Other>&) noexcept {}  // NOLINT: as allocators have it

  T* allocate(std::size_t count) {
    if (count > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(slab_allocate(count * sizeof(T)));
  }
  void deallocate(T* from, std::size_t count) noexcept { slab_free(from, count * sizeof(T)); }

  template <class Other>
  friend bool operator==(const SlabAllocator&, const SlabAllocator<Other>&) noexcept {
    return true;
  }
};

}  // namespace ray::detail
