// The fields of a plain struct without its help: their number is how many empty braces it can be
// made of, and a structured binding names each. Structs with a base, a union, a field that has no
// default or cannot be assigned, or more than kFieldsMax fields have none as far as this file is
// concerned.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace ray::detail {

inline constexpr std::size_t kFieldsMax = 16;

/// Converts to a base of T only.
template <class T>
struct AnyBase {
  template <class U>
  requires(std::is_base_of_v<U, T> && !std::is_same_v<U, T>) operator U() const;
};
/// Converts to a union only, also to one without a name.
struct AnyUnion {
  template <class U>
  requires std::is_union_v<U>
  operator U() const;
};

/// Whether a T can be made of N pairs of empty braces.
template <class T, std::size_t N>
inline constexpr bool made_of_braces = false;
/// Whether its field behind the first N is a union.
template <class T, std::size_t N>
inline constexpr bool union_behind = false;
// clang-format off
template <class T>
requires requires { T{{}}; }
inline constexpr bool made_of_braces<T, 1> = true;
template <class T>
requires requires { T{{}, {}}; }
inline constexpr bool made_of_braces<T, 2> = true;
template <class T>
requires requires { T{{}, {}, {}}; }
inline constexpr bool made_of_braces<T, 3> = true;
template <class T>
requires requires { T{{}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 4> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 5> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 6> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 7> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 8> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 9> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 10> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 11> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 12> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 13> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 14> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 15> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 16> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }
inline constexpr bool made_of_braces<T, 17> = true;
template <class T>
requires requires { T{AnyUnion()}; }
inline constexpr bool union_behind<T, 0> = true;
template <class T>
requires requires { T{{}, AnyUnion()}; }
inline constexpr bool union_behind<T, 1> = true;
template <class T>
requires requires { T{{}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 2> = true;
template <class T>
requires requires { T{{}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 3> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 4> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 5> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 6> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 7> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 8> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 9> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 10> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 11> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 12> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 13> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 14> = true;
template <class T>
requires requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, AnyUnion()}; }
inline constexpr bool union_behind<T, 15> = true;
// clang-format on

template <class T, std::size_t N = 0>
constexpr std::size_t count_fields() {
  if constexpr (union_behind<T, N>) {
    return 0;
  } else if constexpr (made_of_braces<T, N + 1>) {
    return N + 1 > kFieldsMax ? 0 : count_fields<T, N + 1>();
  } else {
    return N;
  }
}

/// The number of T's fields; 0 if it has none that can be named.
template <class T>
constexpr std::size_t field_count() {
  if constexpr (
      std::is_aggregate_v<T> && !std::is_array_v<T> && !std::is_union_v<T> &&
      std::is_move_assignable_v<T> && !requires { T{AnyBase<T>()}; } &&
      !requires { std::tuple_size<T>::value; }) {
    return count_fields<T>();
  } else {
    return 0;
  }
}

/// Calls `use(field…)` with all fields of `value`. Requires: field_count of it is not 0.
template <class T, class F>
void with_fields(T& value, F&& use) {
  constexpr std::size_t count = field_count<std::remove_const_t<T>>();
  static_assert(count != 0);
  // clang-format off
  if constexpr (count == 1) {
    auto& [a] = value;
    use(a);
  } else if constexpr (count == 2) {
    auto& [a, b] = value;
    use(a, b);
  } else if constexpr (count == 3) {
    auto& [a, b, c] = value;
    use(a, b, c);
  } else if constexpr (count == 4) {
    auto& [a, b, c, d] = value;
    use(a, b, c, d);
  } else if constexpr (count == 5) {
    auto& [a, b, c, d, e] = value;
    use(a, b, c, d, e);
  } else if constexpr (count == 6) {
    auto& [a, b, c, d, e, f] = value;
    use(a, b, c, d, e, f);
  } else if constexpr (count == 7) {
    auto& [a, b, c, d, e, f, g] = value;
    use(a, b, c, d, e, f, g);
  } else if constexpr (count == 8) {
    auto& [a, b, c, d, e, f, g, h] = value;
    use(a, b, c, d, e, f, g, h);
  } else if constexpr (count == 9) {
    auto& [a, b, c, d, e, f, g, h, i] = value;
    use(a, b, c, d, e, f, g, h, i);
  } else if constexpr (count == 10) {
    auto& [a, b, c, d, e, f, g, h, i, j] = value;
    use(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (count == 11) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = value;
    use(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (count == 12) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = value;
    use(a, b, c, d, e, f, g, h, i, j, k, l);
  } else if constexpr (count == 13) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value;
    use(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (count == 14) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = value;
    use(a, b, c, d, e, f, g, h, i, j, k, l, m, n);
  } else if constexpr (count == 15) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = value;
    use(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o);
  } else if constexpr (count == 16) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = value;
    use(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
  }
  // clang-format on
}

}  // namespace ray::detail
