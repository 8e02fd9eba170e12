// Array<T>: a contiguous numeric array whose memory belongs to the object store.
#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <ray/error.hpp>
#include <ray/store/buffer.hpp>

namespace ray {

/// `Array<double> a(n)` reserves n zeroed elements in the store; fill them, then put(std::move(a))
/// or return it from a task, which seals it: get() then gives const Array<T>&. 64-byte aligned.
/// Owns: its elements; move-only, so large data is never copied by accident (see clone()).
template <class T>
class Array {
  static_assert(std::is_trivially_copyable_v<T>,
                "ray: Array<T> holds numbers and other trivially copyable types; use std::vector");

public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  Array() noexcept = default;
  explicit Array(std::size_t size) : size_(size) {
    if (size > std::numeric_limits<std::size_t>::max() / 2 / sizeof(T)) {
      throw InvalidArgumentError("ray::Array: " + std::to_string(size) +
                                 " elements are more than any memory holds");
    }
    if (size != 0) data_ = static_cast<T*>(detail::buffer_allocate(size * sizeof(T)));
    for (std::size_t i = 0; i < size; ++i) ::new (static_cast<void*>(data_ + i)) T();
  }
  Array(Array&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Array& operator=(Array&& other) noexcept {
    Array moved(std::move(other));
    std::swap(data_, moved.data_);
    std::swap(size_, moved.size_);
    return *this;
  }
  ~Array() {
    if (data_ != nullptr) detail::buffer_free(data_, size_ * sizeof(T));
  }

  [[nodiscard]] Array clone() const {
    Array copy(size_);
    if (size_ != 0) std::memcpy(static_cast<void*>(copy.data_), data_, size_ * sizeof(T));
    return copy;
  }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Requires: i < size().
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  operator std::span<T>() noexcept { return {data_, size_}; }
  operator std::span<const T>() const noexcept { return {data_, size_}; }

  friend bool operator==(const Array& a, const Array& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i) {
      if (!(a.data_[i] == b.data_[i])) return false;
    }
    return true;
  }

private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ray
