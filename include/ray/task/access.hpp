// What a type says of how it is written and read: members or functions beside it, serialize or a
// pair of save and load.
#pragma once

#include <type_traits>

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
  /// Null, as a pointer to the class that T's serialize is a member of.
  template <class T, class Archive>
  static auto serializer() -> decltype(class_of(&T::template serialize<Archive>)) {
    return nullptr;
  }
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
/// Whether T inherits its serialize, and has fields that this cannot know: the base is smaller, and
/// is not made for T (Base<T>).
template <class T, class Base>
inline constexpr bool made_for = false;
template <class T, template <class...> class Base, class... A>
inline constexpr bool made_for<T, Base<A...>> = (std::is_same_v<T, A> || ...);
template <class T, class Archive>
concept InheritsSerialize = requires {
  ray::Access::serializer<T, Archive>();
  requires sizeof(*ray::Access::serializer<T, Archive>()) < sizeof(T);
  requires !made_for<T, std::remove_cvref_t<decltype(*ray::Access::serializer<T, Archive>())>>;
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
