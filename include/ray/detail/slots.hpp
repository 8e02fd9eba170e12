// How one argument lies in a task's record and how it is handed to the function.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include <ray/detail/cells.hpp>
#include <ray/object_ref.hpp>
#include <ray/task/record_types.hpp>
#include <ray/task/values.hpp>

namespace ray::detail {

/// What a parameter P of the function is handed: a temporary where P takes one by value.
template <class P, class V>
using Handed =
    std::conditional_t<std::is_lvalue_reference_v<P>, const V&,  // A view converts.
                       std::conditional_t<std::is_same_v<P, Unknown>, V, std::remove_cvref_t<P>>>;

/// An argument given as a value, for a parameter P (or Unknown).
template <class P, class V>
struct ValueSlot {
  V value;

  static constexpr bool is_ref = false;
  /// Whether it can be handed over more than once.
  static constexpr bool repeats = std::is_lvalue_reference_v<P> || std::is_copy_constructible_v<V>;

  /// `again`: the task may run once more, so the value must stay.
  Handed<P, V> hand_over(bool again) {
    if constexpr (std::is_lvalue_reference_v<P>) {
      return value;
    } else if constexpr (std::is_same_v<P, Unknown> && std::is_copy_constructible_v<V>) {
      return again ? V(std::as_const(value)) : V(std::move(value));
    } else if constexpr (std::is_same_v<P, Unknown>) {
      return std::move(value);
    } else if constexpr (!std::is_same_v<std::remove_cvref_t<P>, V>) {
      return static_cast<std::remove_cvref_t<P>>(value);  // A view of what is kept.
    } else if constexpr (std::is_copy_constructible_v<V>) {
      if (again) return static_cast<std::remove_cvref_t<P>>(std::as_const(value));
      return static_cast<std::remove_cvref_t<P>>(std::move(value));
    } else {
      return static_cast<std::remove_cvref_t<P>>(std::move(value));
    }
  }
};

/// An argument given as an ObjectRef<U> for a parameter that takes the value.
/// Owns: a reference to the object.
template <class P, class U>
struct RefSlot {
  Object* object;
  Waiter node{};

  using Held = U;
  static constexpr bool is_ref = true;
  static constexpr bool repeats = true;

  explicit RefSlot(Object* held) noexcept : object(held) {}
  RefSlot(const RefSlot&) = delete;
  RefSlot& operator=(const RefSlot&) = delete;
  ~RefSlot() { release(object); }

  using V = std::conditional_t<std::is_same_v<P, Unknown>, const U&, Handed<P, U>>;

  V hand_over(bool again) {
    const U& value = value_of<U>(object);
    if constexpr (std::is_same_v<P, Unknown> || std::is_lvalue_reference_v<P>) {
      return value;
    } else {
      using Parameter = std::remove_cvref_t<P>;
      // The last to name it: moved, not copied.
      const auto last =
          std::is_convertible_v<const U&, Parameter> ? is_only_reference : becomes_only_reference;
      if (!again && last(object)) return static_cast<Parameter>(std::move(const_cast<U&>(value)));
      if constexpr (std::is_convertible_v<const U&, Parameter>) {
        return static_cast<Parameter>(value);
      } else {
        throw InvalidArgumentError(
            "ray: object " + hex_id(object->task_id()) +
            " cannot be copied, and others hold references to it: take it as const&, or pass the "
            "last reference with std::move");
      }
    }
  }
};

/// Which slot an argument A gets for parameter P.
template <class P, class A>
struct SlotFor {
  using type = ValueSlot<P, typename Kept<P, A>::type>;
};
template <class P, class A>
requires(is_object_ref<A> && !is_object_ref<P>) struct SlotFor<P, A> {
  using type = RefSlot<P, RefValue<A>>;
};
template <class P, class A>
using Slot = typename SlotFor<P, A>::type;

/// An argument as it came from another process.
template <class S>
S read_slot(InputArchive& in, Needs& needs) {
  if constexpr (S::is_ref) {
    return S(needs.take(&make_pending<typename S::Held>));
  } else {
    using V = decltype(S::value);
    if constexpr (std::is_default_constructible_v<V>) {
      S slot{V()};
      in(slot.value);
      return slot;
    } else {
      throw_not_serializable(type_text<V>());
    }
  }
}
template <class S>
void write_slot(OutputArchive& out, const S& slot) {
  if constexpr (!S::is_ref) {
    if constexpr (!std::is_default_constructible_v<decltype(S::value)>) {
      throw_not_serializable(type_text<decltype(S::value)>());
    } else {
      out(slot.value);
    }
  }
}

template <class S, class A>
S make_slot(A&& argument, std::size_t position) {
  if constexpr (S::is_ref) {
    Object* object = RefAccess::object(argument);
    if (object == nullptr) {
      throw_empty_ref(("argument " + std::to_string(position) + " of remote").c_str());
    }
    if constexpr (std::is_rvalue_reference_v<A&&> && !std::is_const_v<A>) {
      return S(RefAccess::give_up(argument));
    } else {
      retain(object);
      return S(object);
    }
  } else {
    using V = decltype(S::value);
    return S{V(std::forward<A>(argument))};
  }
}

/// The slots of one record. Alive from construction to release().
template <class... S>
class Slots {
public:
  static constexpr std::size_t ref_count = (std::size_t{S::is_ref} + ... + 0);
  static constexpr bool repeats = (S::repeats && ...);
  static constexpr bool is_leaf = (std::is_trivially_destructible_v<S> && ...);

  template <class... A>
  explicit Slots(std::in_place_t, A&&... arguments)
      : Slots(std::index_sequence_for<S...>(), std::forward<A>(arguments)...) {}
  Slots(InputArchive& in, Needs& needs) : all_(in, needs) {}

  /// Calls `f(slot…)`.
  template <class F>
  decltype(auto) apply(F&& f) {
    return apply_with(std::forward<F>(f), std::index_sequence_for<S...>());
  }
  /// Calls `f(slot, position)` for each slot that holds an object.
  template <class F>
  void for_each_ref(F&& f) {
    if constexpr (ref_count != 0) visit_refs(f, std::index_sequence_for<S...>());
  }
  Object* failed() {
    Object* found = nullptr;
    for_each_ref([&](auto& slot, std::size_t) {
      if (found == nullptr && !has_value(slot.object)) found = slot.object;
    });
    return found;
  }

private:
  template <std::size_t I, class Held>
  struct Leaf {
    Held slot;
  };
  template <class Positions>
  struct All;
  template <std::size_t... I>
  struct All<std::index_sequence<I...>> : Leaf<I, S>... {
    template <class... A>
    explicit All(std::in_place_t, A&&... arguments)
        : Leaf<I, S>{make_slot<S>(std::forward<A>(arguments), I + 1)}... {}
    All(InputArchive& in, Needs& needs) : Leaf<I, S>{read_slot<S>(in, needs)}... {
      static_cast<void>(in), static_cast<void>(needs);  // There may be no arguments.
    }
  };

  template <std::size_t... I, class... A>
  explicit Slots(std::index_sequence<I...>, A&&... arguments)
      : all_(std::in_place, std::forward<A>(arguments)...) {}

  template <std::size_t I, class Held>
  static Held& at(Leaf<I, Held>& leaf) {
    return leaf.slot;
  }
  template <class F, std::size_t... I>
  decltype(auto) apply_with(F&& f, std::index_sequence<I...>) {
    return std::forward<F>(f)(at<I>(all_)...);
  }
  template <class F, std::size_t... I>
  void visit_refs(F& f, std::index_sequence<I...>) {
    const auto visit = [&](auto& slot, std::size_t position) {
      if constexpr (std::remove_reference_t<decltype(slot)>::is_ref) f(slot, position);
    };
    (visit(at<I>(all_), I), ...);
  }

  All<std::index_sequence_for<S...>> all_;
};

}  // namespace ray::detail
