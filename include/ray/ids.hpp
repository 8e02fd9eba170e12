// Names of things: strong, ordered, hashable 64-bit ids that print as 16 hex digits.
// A task's id is the hash of its parent's id and its call index, so a parent that runs again
// gives its children the same ids (architecture.md, "Identity"). 0 is "none".
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace ray {

namespace detail {

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that mixes all bits.
constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// The id of the `index`-th thing that `parent` made; never 0.
constexpr std::uint64_t child_id(std::uint64_t parent, std::uint64_t index) noexcept {
  const std::uint64_t id = mix64(parent + 0x9e3779b97f4a7c15ULL * (index + 1));
  return id == 0 ? 1 : id;
}

/// The inverse of mix64.
constexpr std::uint64_t unmix64(std::uint64_t x) noexcept {
  x = (x ^ (x >> 31) ^ (x >> 62)) * 0x319642b2d24d8ec3ULL;
  x = (x ^ (x >> 27) ^ (x >> 54)) * 0x96de1b173f119089ULL;
  return x ^ (x >> 30) ^ (x >> 60);
}
/// A parent whose child 0 has that id.
constexpr std::uint64_t parent_of(std::uint64_t id) noexcept {
  return unmix64(id) - 0x9e3779b97f4a7c15ULL;
}
static_assert(unmix64(mix64(0x0123456789abcdefULL)) == 0x0123456789abcdefULL);
static_assert(child_id(parent_of(42), 0) == 42);

std::string hex_id(std::uint64_t value);

}  // namespace detail

/// An id of one kind of thing. Regular; default is "none" and tests false.
template <class Tag>
struct Id {
  std::uint64_t value = 0;

  explicit operator bool() const noexcept { return value != 0; }
  friend bool operator==(Id, Id) noexcept = default;
  friend auto operator<=>(Id, Id) noexcept = default;
  /// 16 lower-case hex digits.
  std::string hex() const { return detail::hex_id(value); }
};

using TaskId = Id<struct TaskIdTag>;
using ObjectId = Id<struct ObjectIdTag>;
using ActorId = Id<struct ActorIdTag>;
using NodeId = Id<struct NodeIdTag>;
using WorkerId = Id<struct WorkerIdTag>;

}  // namespace ray

template <class Tag>
struct std::hash<ray::Id<Tag>> {
  std::size_t operator()(ray::Id<Tag> id) const noexcept {
    return static_cast<std::size_t>(ray::detail::mix64(id.value));
  }
};
