// Actors whose state outlives their process: a class says so with
//   State checkpoint() const;         what is to be saved
//   void restore(const State& saved)  (or State): called on a new object after its constructor
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <ray/detail/checks.hpp>
#include <ray/runtime/actor_core.hpp>
#include <ray/task/archive.hpp>

namespace ray::detail {

template <class C>
concept HasCheckpoint = requires(C& object) {
  object.checkpoint();
};
template <class C>
concept HasConstCheckpoint = requires(const C& object) {
  object.checkpoint();
};
template <class C>
using CheckpointState = std::remove_cvref_t<decltype(std::declval<const C&>().checkpoint())>;

template <class C>
concept SavesState = HasConstCheckpoint<C> && !std::is_void_v<CheckpointState<C>>;
template <class C>
concept RestoresState = requires(C& object, const CheckpointState<C>& saved) {
  object.restore(saved);
};

/// One complaint at most: the first reason why checkpoint() cannot be used.
template <class C>
struct CheckCheckpoint {
  static constexpr bool ok = true;
};
template <class C>
requires HasCheckpoint<C>
struct CheckCheckpoint<C> {
  static constexpr bool saves = SavesState<C>;
  static_assert(saves, "ray: an actor's checkpoint() must be const and return the state to save");
  static constexpr bool owns = [] {
    if constexpr (saves) return !is_borrowed<CheckpointState<C>>;
    return true;
  }();
  static_assert(owns,
                "ray: an actor's checkpoint() cannot return a pointer, std::string_view or "
                "std::span, whose target may be gone: return the value or the container");
  static constexpr bool restores = [] {
    if constexpr (saves && owns) return RestoresState<C>;
    return true;
  }();
  static_assert(restores,
                "ray: an actor's class with checkpoint() also needs `void restore(const State&)`, "
                "which takes back what checkpoint() returned");
  static constexpr bool ok = saves && owns && restores;
};

template <class C>
struct CheckpointOf {
  using State = CheckpointState<C>;

  static std::shared_ptr<void> take(const void* object) {
    return std::shared_ptr<State>(new State(static_cast<const C*>(object)->checkpoint()));
  }
  static void restore(void* object, const void* state) {
    static_cast<C*>(object)->restore(*static_cast<const State*>(state));
  }
  static void write(OutputArchive& out, const void* state) {
    if constexpr (!std::is_default_constructible_v<State>) {
      throw_not_serializable(type_text<State>());
    } else {
      out(*static_cast<const State*>(state));
    }
  }
  static std::shared_ptr<void> read(InputArchive& in) {
    if constexpr (!std::is_default_constructible_v<State>) {
      throw_not_serializable(type_text<State>());
    } else {
      auto state = std::make_shared<State>();
      in(*state);
      in.finish(type_text<State>());
      return state;
    }
  }
  static constexpr CheckpointOps ops = {
      .take = take, .restore = restore, .write = write, .read = read};
};

/// Null where C does not say how.
template <class C>
constexpr const CheckpointOps* checkpoint_ops() {
  if constexpr (HasCheckpoint<C>) {
    if constexpr (CheckCheckpoint<C>::ok) return &CheckpointOf<C>::ops;
  }
  return nullptr;
}

}  // namespace ray::detail
