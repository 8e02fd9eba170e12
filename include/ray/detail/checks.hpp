// What may be passed to a task and how it is refused: one readable line at the call that names the
// argument's position and the two types. The texts here are tested (tests/compile_fail).
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace ray {

template <class T>
class ObjectRef;
template <class C>
class ActorHandle;
template <class T>
class Task;
template <class T>
class Generator;
template <class T>
class ObjectRefStream;

namespace detail {

/// A list of types.
template <class... T>
struct Types {
  static constexpr std::size_t size = sizeof...(T);
};

// --- What a callable takes and gives ---

/// Result and parameters of F, where they can be known without its arguments.
template <class F>
struct Signature {
  static constexpr bool known = false;
};
template <class R, class... P>
struct Signature<R (*)(P...)> {
  static constexpr bool known = true;
  using Result = R;
  using Parameters = Types<P...>;
};
template <class R, class... P>
struct Signature<R (*)(P...) noexcept> : Signature<R (*)(P...)> {};

/// The class and the signature behind a pointer to member function.
template <class F>
struct MemberSignature {
  static constexpr bool known = false;
};
#define RAY_MEMBER_SIGNATURE(qualifiers)              \
  template <class C, class R, class... P>             \
  struct MemberSignature<R (C::*)(P...) qualifiers> { \
    static constexpr bool known = true;               \
    using Class = C;                                  \
    using Result = R;                                 \
    using Parameters = Types<P...>;                   \
  };
RAY_MEMBER_SIGNATURE()
RAY_MEMBER_SIGNATURE(const)
RAY_MEMBER_SIGNATURE(noexcept)
RAY_MEMBER_SIGNATURE(const noexcept)
RAY_MEMBER_SIGNATURE(&)
RAY_MEMBER_SIGNATURE(const&)
#undef RAY_MEMBER_SIGNATURE

template <class F>
concept HasOneCallOperator = requires {
  &F::operator();
};

/// As Signature, for function objects with one call operator too.
template <class F>
struct CallableSignature : Signature<F> {};
template <class F>
requires HasOneCallOperator<F>
struct CallableSignature<F> : MemberSignature<decltype(&F::operator())> {
};

// --- Kinds of types ---

template <class T>
struct RefTarget {
  static constexpr bool is_ref = false;
};
template <class T>
struct RefTarget<ObjectRef<T>> {
  static constexpr bool is_ref = true;
  using type = T;
};
template <class T>
inline constexpr bool is_object_ref = RefTarget<std::remove_cvref_t<T>>::is_ref;
template <class T>
using RefValue = typename RefTarget<std::remove_cvref_t<T>>::type;

template <class T>
inline constexpr bool is_span = false;
template <class T, std::size_t N>
inline constexpr bool is_span<std::span<T, N>> = true;

/// A pointer to data: its target would not be there on another machine, or later.
template <class T>
inline constexpr bool is_data_pointer =
    std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>;

/// How a value for parameter P is kept until the task runs. A view is kept as what it views.
template <class P, class A>
struct Kept {
  using type = std::remove_cvref_t<P>;
};
template <class P, class A>
requires std::same_as<std::remove_cvref_t<P>, std::string_view>
struct Kept<P, A> {
  using type = std::string;
};
template <class P, class A>
requires is_span<std::remove_cvref_t<P>>
struct Kept<P, A> {
  using type = std::decay_t<A>;
};

// --- The checks ---

template <class A>
inline constexpr bool is_pointer_argument =
    is_data_pointer<std::decay_t<A>> && !std::is_array_v<std::remove_reference_t<A>>;

/// Names in a message: `Argument<2>`, `from<int*>`, `to<double>`.
template <std::size_t Position, class From, class To>
struct CheckArgument {
  using P = std::remove_cvref_t<To>;
  static constexpr bool reference_ok =
      !std::is_lvalue_reference_v<To> || std::is_const_v<std::remove_reference_t<To>>;
  static_assert(reference_ok,
                "ray: this parameter is a non-const reference, and a task cannot change its "
                "caller's variable: take it by value or by const&, and return the result");
  static constexpr bool pointer_ok = !is_data_pointer<P>;
  static_assert(pointer_ok,
                "ray: this parameter is a pointer, which cannot be passed to a task: pass the "
                "value, or an ObjectRef to it (see 'CheckArgument<position, from, to>')");
  static constexpr bool view_ok =
      !is_span<P> || is_object_ref<From> ||
      (!is_span<std::decay_t<From>> && !std::is_pointer_v<std::decay_t<From>>);
  static_assert(view_ok,
                "ray: this argument is a std::span, and what it views may be gone when the task "
                "runs: pass the container, or an ObjectRef to it");
  static constexpr bool ok = [] {
    if constexpr (!reference_ok || !pointer_ok || !view_ok) {
      return true;  // Said already.
    } else if constexpr (is_object_ref<P>) {
      constexpr bool same = std::is_same_v<P, std::remove_cvref_t<From>>;
      static_assert(same,
                    "ray: this parameter is an ObjectRef: pass an ObjectRef of the same type "
                    "(see 'CheckArgument<position, from, to>')");
      return same;
    } else if constexpr (is_object_ref<From>) {
      constexpr bool not_void = !std::is_void_v<RefValue<From>>;
      static_assert(not_void, "ray: an ObjectRef<void> has no value that could be passed");
      if constexpr (not_void) {
        constexpr bool fits =
            std::is_convertible_v<const RefValue<From>&, P> ||
            (std::is_same_v<RefValue<From>, P> && std::is_move_constructible_v<P>);
        static_assert(fits,
                      "ray: the object behind this ObjectRef cannot be converted to the "
                      "parameter's type (see 'CheckArgument<position, from, to>')");
        return fits;
      }
      return false;
    } else {
      constexpr bool fits = std::is_constructible_v<typename Kept<To, From>::type, From> &&
                            (std::is_convertible_v<From, typename Kept<To, From>::type> ||
                             std::is_same_v<typename Kept<To, From>::type, std::string>);
      static_assert(fits,
                    "ray: this argument cannot be converted to the parameter's type "
                    "(see 'CheckArgument<position, from, to>')");
      return fits;
    }
  }();
};

/// An argument of something whose parameters are not known (a template, overloads).
template <std::size_t Position, class From>
struct CheckPassable {
  static constexpr bool ok = !is_pointer_argument<From>;
  static_assert(ok,
                "ray: this argument is a pointer, which cannot be passed to a task: pass the "
                "value, or an ObjectRef to it (see 'CheckPassable<position, from>')");
};

template <class Parameters, class Arguments, class Positions>
struct CheckAll;
template <class... P, class... A, std::size_t... I>
struct CheckAll<Types<P...>, Types<A...>, std::index_sequence<I...>> {
  static constexpr bool ok = (CheckArgument<I + 1, A, P>::ok && ...);
};

template <std::size_t Wanted, std::size_t Given>
struct CheckCount {
  static constexpr bool ok = Wanted == Given;
  static_assert(ok,
                "ray: wrong number of arguments for this task or method "
                "(see 'CheckCount<wanted, given>')");
};

}  // namespace detail

}  // namespace ray
