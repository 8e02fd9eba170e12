// How the archives carry what the standard library has: strings, containers, pairs, tuples,
// optional, variant, unique_ptr, durations. Pointers that share, views and functions are not
// carried.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <ray/task/archive.hpp>

namespace ray::detail {

/// What stands in a container is made first and then read into.
template <class T>
void require_default() {
  if constexpr (!std::is_default_constructible_v<T>) throw_not_serializable(type_text<T>());
}

// --- contiguous numbers ---

template <class C, class Traits, class A>
requires is_number<C>
struct Codec<std::basic_string<C, Traits, A>> {
  using String = std::basic_string<C, Traits, A>;
  static void write(OutputArchive& out, const String& text) {
    out.write_block(text.data(), text.size() * sizeof(C));
  }
  static void read(InputArchive& in, String& text) {
    const auto block = in.read_block(sizeof(C), type_text<String>());
    text.resize(block.size() / sizeof(C));
    if (!block.empty()) std::memcpy(text.data(), block.data(), block.size());
  }
};

template <class T, class A>
requires(is_number<T> && !std::is_same_v<T, bool>) struct Codec<std::vector<T, A>> {
  static void write(OutputArchive& out, const std::vector<T, A>& numbers) {
    out.write_block(numbers.data(), numbers.size() * sizeof(T));
  }
  static void read(InputArchive& in, std::vector<T, A>& numbers) {
    const auto block = in.read_block(sizeof(T), type_text<std::vector<T, A>>());
    numbers.resize(block.size() / sizeof(T));
    if (!block.empty()) std::memcpy(numbers.data(), block.data(), block.size());
  }
};

/// 80 bits; what pads them is not written.
template <>
struct Codec<long double> {
  static constexpr std::size_t bytes = 10;
  static void write(OutputArchive& out, long double value) { out.write_raw(&value, bytes); }
  static void read(InputArchive& in, long double& value) {
    value = 0;
    in.read_raw(&value, bytes, "long double");
  }
};

/// std::complex, without its header.
template <class T>
concept ComplexNumber = requires(const T& value) {
  requires is_number<typename T::value_type>;
  requires std::is_same_v<decltype(value.real()), typename T::value_type>;
  T(value.real(), value.imag());
};
template <ComplexNumber T>
struct Codec<T> {
  using Part = typename T::value_type;
  static void write(OutputArchive& out, const T& value) { out(value.real(), value.imag()); }
  static void read(InputArchive& in, T& value) {
    Part real{};
    Part imaginary{};
    in(real, imaginary);
    value = T(real, imaginary);
  }
};

// --- containers ---

template <class T>
struct Unconst {
  using type = T;
};
template <class K, class V>
struct Unconst<std::pair<const K, V>> {
  using type = std::pair<K, V>;
};

/// Anything that is filled by inserting: vector, deque, list, and the ordered and unordered ones.
template <class T>
concept Container = requires(T& container, const T& full, typename T::value_type& element) {
  container.clear();
  full.size();
  full.begin() != full.end();
  container.insert(container.end(), std::move(element));
};

template <Container T>
struct Codec<T> {
  using Element = typename Unconst<typename T::value_type>::type;
  static void write(OutputArchive& out, const T& container) {
    require_default<Element>();
    out.write_size(container.size());
    for (auto&& element : container) {
      if constexpr (std::is_lvalue_reference_v<decltype(*container.begin())>) {
        out(element);
      } else {
        const typename T::value_type& made = element;
        const auto temporary = WriteScope::temporary(out);
        out(made);
      }
    }
  }
  static void read(InputArchive& in, T& container) {
    container.clear();
    if constexpr (std::is_default_constructible_v<Element>) {
      // Room is made as elements come, not because a number says so.
      for (std::size_t left = in.read_count(type_text<T>()); left > 0; --left) {
        Element element{};
        in(element);
        container.insert(container.end(), std::move(element));
      }
    } else {
      require_default<Element>();
    }
  }
};

template <class T, std::size_t N>
struct Codec<std::array<T, N>> {
  static void write(OutputArchive& out, const std::array<T, N>& array) {
    if constexpr (N == 0) {
      out.write_number(std::uint8_t{0});
    } else if constexpr (is_number<T>) {
      out.write_raw(array.data(), N * sizeof(T));
    } else {
      for (const T& element : array) out(element);
    }
  }
  static void read(InputArchive& in, std::array<T, N>& array) {
    if constexpr (N == 0) {
      in.read_number<std::uint8_t>();
    } else if constexpr (is_number<T>) {
      in.read_raw(array.data(), N * sizeof(T), type_text<std::array<T, N>>());
    } else {
      for (T& element : array) in(element);
    }
  }
};

// --- one of several, or several ---

template <class A, class B>
struct Codec<std::pair<A, B>> {
  static void write(OutputArchive& out, const std::pair<A, B>& pair) {
    out(pair.first, pair.second);
  }
  static void read(InputArchive& in, std::pair<A, B>& pair) {
    in(const_cast<std::remove_const_t<A>&>(pair.first), pair.second);
  }
};

template <class... T>
struct Codec<std::tuple<T...>> {
  static void write(OutputArchive& out, const std::tuple<T...>& tuple) {
    std::apply([&](const T&... elements) { out(elements...); }, tuple);
    if constexpr (sizeof...(T) == 0) out.write_number(std::uint8_t{0});
  }
  static void read(InputArchive& in, std::tuple<T...>& tuple) {
    std::apply([&](T&... elements) { in(elements...); }, tuple);
    if constexpr (sizeof...(T) == 0) in.read_number<std::uint8_t>();
  }
};

template <class T>
struct Codec<std::optional<T>> {
  static void write(OutputArchive& out, const std::optional<T>& value) {
    require_default<T>();
    out(value.has_value());
    if (value) out(*value);
  }
  static void read(InputArchive& in, std::optional<T>& value) {
    bool has = false;
    in(has);
    value.reset();
    if constexpr (std::is_default_constructible_v<T>) {
      if (has) in(value.emplace());
    } else {
      require_default<T>();
    }
  }
};

template <class... T>
struct Codec<std::variant<T...>> {
  using Variant = std::variant<T...>;
  static void write(OutputArchive& out, const Variant& value) {
    (require_default<T>(), ...);
    if (value.valueless_by_exception()) throw_not_serializable("a variant without a value");
    out.write_size(value.index());
    std::visit([&](const auto& held) { out(held); }, value);
  }
  static void read(InputArchive& in, Variant& value) {
    const auto index = in.read_size(sizeof...(T) - 1, type_text<Variant>());
    read_one(in, value, index, std::index_sequence_for<T...>());
  }

private:
  template <std::size_t... I>
  static void read_one(InputArchive& in, Variant& value, std::uint64_t index,
                       std::index_sequence<I...>) {
    const auto read = [&]<std::size_t N>() {
      if constexpr (std::is_default_constructible_v<std::variant_alternative_t<N, Variant>>) {
        in(value.template emplace<N>());
      } else {
        require_default<std::variant_alternative_t<N, Variant>>();
      }
    };
    ((I == index ? read.template operator()<I>() : void()), ...);
  }
};

/// Of exactly a T: what is derived from it would be cut.
template <class T>
requires(!std::is_polymorphic_v<T> && !std::is_array_v<T>) struct Codec<std::unique_ptr<T>> {
  static void write(OutputArchive& out, const std::unique_ptr<T>& value) {
    require_default<T>();
    out(value != nullptr);
    if (value) out(*value);
  }
  static void read(InputArchive& in, std::unique_ptr<T>& value) {
    bool has = false;
    in(has);
    value.reset();
    if constexpr (std::is_default_constructible_v<T>) {
      if (has) in(*(value = std::make_unique<T>()));
    } else {
      require_default<T>();
    }
  }
};

// --- time ---

template <class Rep, class Period>
struct Codec<std::chrono::duration<Rep, Period>> {
  using Duration = std::chrono::duration<Rep, Period>;
  static void write(OutputArchive& out, const Duration& time) { out(time.count()); }
  static void read(InputArchive& in, Duration& time) {
    Rep count{};
    in(count);
    time = Duration(count);
  }
};
/// As the clock of the writer counts; steady_clock means the same in all processes of a machine.
template <class Clock, class Duration>
struct Codec<std::chrono::time_point<Clock, Duration>> {
  using Point = std::chrono::time_point<Clock, Duration>;
  static void write(OutputArchive& out, const Point& time) { out(time.time_since_epoch()); }
  static void read(InputArchive& in, Point& time) {
    Duration since{};
    in(since);
    time = Point(since);
  }
};

}  // namespace ray::detail
