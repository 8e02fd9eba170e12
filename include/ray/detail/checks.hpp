// What may be passed to a task and how it is refused: one readable line that names the argument's
// position and says what to do; the condition beside it names the types. Tested:
// tests/compile_fail.
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
#define RAY_MEMBER_SIGNATURE(qualifiers, is_const)    \
  template <class C, class R, class... P>             \
  struct MemberSignature<R (C::*)(P...) qualifiers> { \
    static constexpr bool known = true;               \
    static constexpr bool constant = is_const;        \
    using Class = C;                                  \
    using Result = R;                                 \
    using Parameters = Types<P...>;                   \
  };
RAY_MEMBER_SIGNATURE(, false)
RAY_MEMBER_SIGNATURE(const, true)
RAY_MEMBER_SIGNATURE(noexcept, false)
RAY_MEMBER_SIGNATURE(const noexcept, true)
RAY_MEMBER_SIGNATURE(&, false)
RAY_MEMBER_SIGNATURE(const&, true)
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
template <class T>
inline constexpr bool is_string_view = false;
template <class C, class Traits>
inline constexpr bool is_string_view<std::basic_string_view<C, Traits>> = true;

/// A pointer to data: its target would not be there on another machine, or later.
template <class T>
inline constexpr bool is_data_pointer =
    std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>;
/// What an object cannot be, because it only names data that somebody else owns.
template <class T>
inline constexpr bool is_borrowed = is_data_pointer<T> || is_span<T> || is_string_view<T>;
template <class A>
inline constexpr bool is_char_array = false;
template <std::size_t N>
inline constexpr bool is_char_array<char[N]> = true;

/// Stands for a parameter whose type is not known: of a generic callable or a constructor.
struct Unknown;

/// How a value for parameter P is kept until the task runs. A view is kept as what it views.
template <class P, class A>
struct Kept {
  using type = std::remove_cvref_t<P>;
};
template <class P, class A>
requires is_string_view<std::remove_cvref_t<P>>
struct Kept<P, A> {
  using View = std::remove_cvref_t<P>;
  using type = std::basic_string<typename View::value_type, typename View::traits_type>;
};
template <class P, class A>
requires is_span<std::remove_cvref_t<P>>
struct Kept<P, A> {
  using type = std::decay_t<A>;
};
template <class A>
struct Kept<Unknown, A> {
  using type = typename Kept<std::decay_t<A>, A>::type;
};
template <class A>
requires is_char_array<std::remove_cvref_t<A>>
struct Kept<Unknown, A> {
  using type = std::string;
};

// --- The checks ---

/// Words in a message: `can_pass<Argument<2>, From<std::string>, To<int>>` is false.
template <std::size_t Position>
struct Argument;
template <class T>
struct From;
template <class T>
struct To;
template <class... Words>
inline constexpr bool can_pass = false;

/// Fails to compile with a text that begins with the argument's position: a text is a literal, so
/// there is one for each position. The compiler prints the condition beside it.
#define RAY_REFUSE_AT(number, text, ...) \
  if constexpr (Position == number) static_assert(can_pass<__VA_ARGS__>, "ray: argument " text)
#define RAY_REFUSE(text, ...)               \
  RAY_REFUSE_AT(1, "1 " text, __VA_ARGS__); \
  RAY_REFUSE_AT(2, "2 " text, __VA_ARGS__); \
  RAY_REFUSE_AT(3, "3 " text, __VA_ARGS__); \
  RAY_REFUSE_AT(4, "4 " text, __VA_ARGS__); \
  RAY_REFUSE_AT(5, "5 " text, __VA_ARGS__); \
  RAY_REFUSE_AT(6, "6 " text, __VA_ARGS__); \
  if constexpr (Position > 6) static_assert(can_pass<__VA_ARGS__>, "ray: a later argument " text)

/// Why an argument A cannot go to a parameter P.
enum class Refusal { none, reference, pointer, view, other_ref, void_ref, object, copy, value };

/// A string is also made of what converts only explicitly, a view.
template <class P, class A, class K = typename Kept<P, A>::type>
inline constexpr bool can_keep = std::is_constructible_v<K, A> &&
                                 (std::is_convertible_v<A, K> || std::is_same_v<K, std::string> ||
                                  is_string_view<std::remove_cvref_t<P>>);

template <class P, class A>
constexpr Refusal refusal_of() {
  using Value = std::remove_cvref_t<P>;
  using Given = std::decay_t<A>;
  if (std::is_lvalue_reference_v<P> && !std::is_const_v<std::remove_reference_t<P>>) {
    return Refusal::reference;
  }
  if (is_data_pointer<Value>) return Refusal::pointer;
  if constexpr (is_object_ref<Value>) {
    return std::is_same_v<Value, Given> ? Refusal::none : Refusal::other_ref;
  } else if constexpr (is_object_ref<A>) {
    using Named = RefValue<A>;
    if (std::is_void_v<Named>) return Refusal::void_ref;
    const bool fits = std::is_convertible_v<std::add_lvalue_reference_t<const Named>, Value> ||
                      (std::is_same_v<Named, Value> && std::is_move_constructible_v<Value>);
    return fits ? Refusal::none : Refusal::object;
  } else {
    // A view or an array would be kept as where the data lie, not as the data.
    if (is_span<Value> && (std::ranges::enable_borrowed_range<Given> || is_data_pointer<Given>)) {
      return Refusal::view;
    }
    if (can_keep<P, A>) return Refusal::none;
    return std::is_lvalue_reference_v<A> && can_keep<P, Given> ? Refusal::copy : Refusal::value;
  }
}

template <std::size_t Position, class A, class P>
struct CheckArgument {
  static constexpr Refusal refusal = refusal_of<P, A>();
  static constexpr bool ok = [] {
    if constexpr (refusal == Refusal::reference) {
      RAY_REFUSE(
          "goes to a parameter that is a non-const reference, and a task cannot change its "
          "caller's variable: take it by value or by const&, and return the result",
          Argument<Position>, From<A>, To<P>);
    } else if constexpr (refusal == Refusal::pointer) {
      RAY_REFUSE(
          "goes to a parameter that is a pointer, which cannot be passed to a task: take the "
          "value, or an ObjectRef to it",
          Argument<Position>, From<A>, To<P>);
    } else if constexpr (refusal == Refusal::view) {
      RAY_REFUSE(
          "is a view or an array, and what it names may be gone when the task runs: pass the "
          "container, or an ObjectRef to it",
          Argument<Position>, From<A>, To<P>);
    } else if constexpr (refusal == Refusal::other_ref) {
      RAY_REFUSE("goes to a parameter that is an ObjectRef: pass an ObjectRef of the same type",
                 Argument<Position>, From<A>, To<P>);
    } else if constexpr (refusal == Refusal::void_ref) {
      RAY_REFUSE("is an ObjectRef<void>, which has no value that could be passed",
                 Argument<Position>, From<A>, To<P>);
    } else if constexpr (refusal == Refusal::object) {
      RAY_REFUSE("is an ObjectRef whose object cannot be converted to the parameter's type",
                 Argument<Position>, From<A>, To<P>);
    } else if constexpr (refusal == Refusal::copy) {
      RAY_REFUSE("cannot be copied: give it away with std::move, or pass an ObjectRef to it",
                 Argument<Position>, From<A>, To<P>);
    } else if constexpr (refusal == Refusal::value) {
      RAY_REFUSE("cannot be converted to the parameter's type", Argument<Position>, From<A>, To<P>);
    }
    return refusal == Refusal::none;
  }();
};

/// An argument of something whose parameters are not known (a template, overloads, a constructor).
template <std::size_t Position, class A>
struct CheckPassable {
  using Value = typename Kept<Unknown, A>::type;
  static constexpr bool ok = [] {
    if constexpr (is_borrowed<Value>) {
      RAY_REFUSE(
          "is a pointer, an array or a span, and what it names may be gone when the task runs: "
          "pass the value or the container, or an ObjectRef to it",
          Argument<Position>, From<A>);
    }
    return !is_borrowed<Value>;
  }();
};
#undef RAY_REFUSE
#undef RAY_REFUSE_AT

template <class Parameters, class Arguments, class Positions>
struct CheckAll;
template <class... P, class... A, std::size_t... I>
struct CheckAll<Types<P...>, Types<A...>, std::index_sequence<I...>> {
  static constexpr bool ok = (CheckArgument<I + 1, A, P>::ok && ...);
};

template <std::size_t Count>
struct Wanted;
template <std::size_t Count>
struct Given;
template <std::size_t WantedCount, std::size_t GivenCount>
struct CheckCount {
  static constexpr bool ok = WantedCount == GivenCount;
  static_assert(ok || can_pass<Wanted<WantedCount>, Given<GivenCount>>,
                "ray: wrong number of arguments for this task or method");
};

/// What a task gives: a value, or several, or later; none of them may name another's data.
template <class R>
inline constexpr bool is_result = !is_borrowed<R>;
template <class... R>
inline constexpr bool is_result<std::tuple<R...>> = (is_result<std::remove_cvref_t<R>> && ...);
template <class T>
inline constexpr bool is_result<ray::Task<T>> = is_result<T>;
template <class T>
inline constexpr bool is_result<ray::Generator<T>> = is_result<T>;

}  // namespace detail

}  // namespace ray
