// Array<T>: a contiguous numeric array whose memory belongs to the object store.
#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <ray/error.hpp>
#include <ray/store/buffer.hpp>
#include <ray/task/archive.hpp>

namespace ray {

namespace detail {

/// Where an array's elements lie.
struct ArrayMemory {
  void* data = nullptr;
  std::shared_ptr<void> keeper;  // Null: a buffer of this process (store/buffer.hpp).
};
/// In the store that processes share, where there is one and the array is large. Throws
/// ObjectStoreFullError, std::bad_alloc.
ArrayMemory allocate_array(std::size_t bytes);

}  // namespace detail

/// `Array<double> a(n)` reserves n zeroed elements in the store; fill them, then put(std::move(a))
/// or return it from a task, which seals it: get() then gives const Array<T>&, which with worker
/// processes is read where it lies. 64-byte aligned. One that was read and then taken out of its
/// object is copied when it is first changed.
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
    if (size != 0) {
      detail::ArrayMemory memory = detail::allocate_array(size * sizeof(T));
      data_ = static_cast<T*>(memory.data);
      keeper_ = std::move(memory.keeper);
    }
    for (std::size_t i = 0; i < size; ++i) ::new (static_cast<void*>(data_ + i)) T();
  }
  Array(Array&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        keeper_(std::move(other.keeper_)),
        shared_(std::exchange(other.shared_, false)) {}
  Array& operator=(Array&& other) noexcept {
    Array moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~Array() {
    if (data_ != nullptr && keeper_ == nullptr) detail::buffer_free(data_, size_ * sizeof(T));
  }

  [[nodiscard]] Array clone() const {
    Array copy(size_);
    if (size_ != 0) std::memcpy(static_cast<void*>(copy.data_), data_, size_ * sizeof(T));
    return copy;
  }

  T* data() { return own(); }
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Requires: i < size().
  T& operator[](std::size_t i) { return own()[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() { return own(); }
  T* end() { return own() + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  operator std::span<T>() { return {own(), size_}; }
  operator std::span<const T>() const noexcept { return {data_, size_}; }
  /// An array of characters is a text.
  operator std::string_view() const noexcept requires(std::is_same_v<T, char>) {
    return {data_, size_};
  }

  friend bool operator==(const Array& a, const Array& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i) {
      if (!(a.data_[i] == b.data_[i])) return false;
    }
    return true;
  }

private:
  friend struct detail::Codec<Array>;

  void swap(Array& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(keeper_, other.keeper_);
    std::swap(shared_, other.shared_);
  }
  T* own() {
    if (shared_) [[unlikely]] {
      Array copy = clone();
      swap(copy);
    }
    return data_;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::shared_ptr<void> keeper_;
  bool shared_ = false;  // Others read it too: not to be written.
};

template <class T>
struct detail::Codec<Array<T>> {
  static void write(OutputArchive& out, const Array<T>& array) {
    out.write_block(array.data_, array.size_ * sizeof(T));
  }
  static void read(InputArchive& in, Array<T>& array) {
    const auto block = in.read_block(sizeof(T), type_text<Array<T>>());
    const bool fits = reinterpret_cast<std::uintptr_t>(block.data()) % alignof(T) == 0;
    if (in.keeper() != nullptr && in.is_beside(block) && fits && !block.empty()) {
      Array<T> view;
      view.data_ = const_cast<T*>(reinterpret_cast<const T*>(block.data()));
      view.size_ = block.size() / sizeof(T);
      view.keeper_ = in.keeper();
      view.shared_ = true;
      array = std::move(view);
      return;
    }
    Array<T> copy(block.size() / sizeof(T));
    if (!block.empty()) std::memcpy(static_cast<void*>(copy.data_), block.data(), block.size());
    array = std::move(copy);
  }
};

}  // namespace ray
