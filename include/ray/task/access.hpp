// What a type says of how it is written and read: members or functions beside it, serialize or a
// pair of save and load.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

#include <ray/task/fields.hpp>
#include <ray/task/type_text.hpp>

namespace ray {

class OutputArchive;
class InputArchive;

/// `friend class ray::Access;` lets the archives use private members. Also makes what is private to
/// make: a default constructor.
class Access {
  template <class R, class C, class... A>
  static C* class_of(R (C::*)(A...));
  template <class R, class C, class... A>
  static const C* class_of(R (C::*)(A...) const);

public:
  template <class Archive, class T>
  static auto serialize(Archive& archive, T& value) -> decltype(value.serialize(archive)) {
    return value.serialize(archive);
  }
  template <class T>
  static auto save(OutputArchive& archive, const T& value) -> decltype(value.save(archive)) {
    return value.save(archive);
  }
  /// Of the class that T's serialize, or its save, is a member of; only for its type.
  template <class T>
  static auto written_by(int) -> decltype(class_of(&T::template serialize<OutputArchive>));
  template <class T>
  static auto written_by(long) -> decltype(class_of(&T::template save<OutputArchive>));
  template <class T>
  static auto written_by(...) -> decltype(class_of(&T::save));
  template <class T>
  static auto load(InputArchive& archive, T& value) -> decltype(value.load(archive)) {
    return value.load(archive);
  }
};

namespace detail {

template <class T, class Archive>
concept SerializesItself = requires(T& value, Archive& archive) {
  ray::Access::serialize(archive, value);
};
template <class T>
concept SavesItself = requires(const T& value, T& into, OutputArchive& out, InputArchive& in) {
  ray::Access::save(out, value);
  ray::Access::load(in, into);
};
/// The class that a T's serialize, or its save, is a member of.
template <class T>
using WriterOf = std::remove_cvref_t<decltype(*ray::Access::written_by<T>(0))>;
/// Whether Base is made for T: Base<T>, and what else names it among its arguments.
template <class T, class Base>
constexpr bool is_made_for() {
  constexpr std::string_view base = type_text<Base>();
  constexpr std::size_t at = base.find(type_text<T>());
  return at != std::string_view::npos && at > 0 && (base[at - 1] == '<' || base[at - 1] == ' ');
}
/// Whether T inherits it, and has fields that it cannot know.
template <class T>
concept InheritsItsFunction = requires {
  typename WriterOf<T>;
  requires !std::is_same_v<WriterOf<T>, T>;
  requires !is_made_for<T, WriterOf<T>>();
  requires sizeof(WriterOf<T>) < sizeof(T) || (std::is_aggregate_v<T> && made_of_braces<T, 2>);
};
template <class T, class Archive>
concept SerializedBeside = requires(T& value, Archive& archive) {
  serialize(archive, value);
};
template <class T>
concept SavedBeside = requires(const T& value, T& into, OutputArchive& out, InputArchive& in) {
  save(out, value);
  load(in, into);
};

}  // namespace detail

}  // namespace ray
