// Types that say by cereal how they are written, made known to the archives: not part of ray.hpp.
// Include it, and the headers of cereal/types that are needed, before the first call that uses such
// a type.
//
// cereal's wrappers (NVP, size tags, binary data, base classes) work in any `serialize`. What only
// cereal understands goes through two archives of its kind: versions, `save_minimal`, functions
// that are private to cereal::access, and cereal/types/*.hpp for what the archives do not know
// themselves. Pointers that share and pointers to polymorphic types are refused: a peer must not
// choose what is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <cereal/cereal.hpp>
#include <cereal/types/base_class.hpp>

#include <ray/task/archive.hpp>
#include <ray/task/values.hpp>

namespace ray {

namespace detail {

template <class T>
inline constexpr bool is_shared_pointer = false;
template <class T>
inline constexpr bool is_shared_pointer<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool is_shared_pointer<std::weak_ptr<T>> = true;
template <class T>
inline constexpr bool is_polymorphic_pointer = false;
template <class T, class D>
inline constexpr bool is_polymorphic_pointer<std::unique_ptr<T, D>> = std::is_polymorphic_v<T>;

template <class T>
constexpr void require_no_sharing() {
  static_assert(
      !is_shared_pointer<T>,
      "ray: shared_ptr and weak_ptr cannot leave the process: what they share stays behind; "
      "use a value, std::unique_ptr, or an ObjectRef");
  static_assert(!is_polymorphic_pointer<T> && !std::is_pointer_v<T>,
                "ray: a pointer to a polymorphic type, or a plain one, cannot leave the process: a "
                "peer must not choose what is made; use a value or std::variant");
}

}  // namespace detail

/// What a `serialize` that only cereal can call is given. Owns nothing: writes into `out`.
class CerealOutput final
    : public cereal::OutputArchive<CerealOutput, cereal::AllowEmptyClassElision> {
  using Base = cereal::OutputArchive<CerealOutput, cereal::AllowEmptyClassElision>;

public:
  explicit CerealOutput(ray::OutputArchive& out) : Base(this), out_(out) {}
  template <class... T>
  CerealOutput& operator()(T&&... values) {
    (write(values), ...);
    return *this;
  }
  template <class T>
  CerealOutput& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  CerealOutput& operator<<(T&& value) {
    return (*this)(value);
  }
  ray::OutputArchive& out() noexcept { return out_; }

private:
  template <class T>
  void write(const T& value);
  ray::OutputArchive& out_;
};

/// As CerealOutput, for reading.
class CerealInput final : public cereal::InputArchive<CerealInput, cereal::AllowEmptyClassElision> {
  using Base = cereal::InputArchive<CerealInput, cereal::AllowEmptyClassElision>;

public:
  explicit CerealInput(ray::InputArchive& in) : Base(this), in_(in) {}
  template <class... T>
  CerealInput& operator()(T&&... values) {
    (read(values), ...);
    return *this;
  }
  template <class T>
  CerealInput& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  CerealInput& operator>>(T&& value) {
    return (*this)(value);
  }
  ray::InputArchive& in() noexcept { return in_; }

private:
  template <class T>
  void read(T& value);
  ray::InputArchive& in_;
};

}  // namespace ray

CEREAL_SETUP_ARCHIVE_TRAITS(ray::CerealInput, ray::CerealOutput)

namespace ray {

// --- what cereal's own functions write by; found by the archive's namespace ---

template <class T>
requires detail::is_number<T>
void save(CerealOutput& archive, const T& number) { archive.out()(number); }
template <class T>
requires detail::is_number<T>
void load(CerealInput& archive, T& number) { archive.in()(number); }
template <class T>
void save(CerealOutput& archive, const cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}
template <class T>
void load(CerealInput& archive, cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}
template <class T>
void save(CerealOutput& archive, const cereal::SizeTag<T>& tag) {
  archive.out()(tag);
}
template <class T>
void load(CerealInput& archive, cereal::SizeTag<T>& tag) {
  archive.in()(tag);
}
template <class T>
void save(CerealOutput& archive, const cereal::BinaryData<T>& data) {
  archive.out()(data);
}
template <class T>
void load(CerealInput& archive, cereal::BinaryData<T>& data) {
  archive.in()(data);
}

namespace detail {

// --- cereal's wrappers in our archives ---

template <class T>
inline constexpr bool is_wrapper<cereal::NameValuePair<T>> = true;
template <class T>
inline constexpr bool is_wrapper<cereal::SizeTag<T>> = true;
template <class T>
inline constexpr bool is_wrapper<cereal::BinaryData<T>> = true;
template <class T>
inline constexpr bool is_wrapper<cereal::base_class<T>> = true;
template <class T>
inline constexpr bool is_wrapper<cereal::virtual_base_class<T>> = true;

template <class T>
struct Codec<cereal::NameValuePair<T>> {
  static void write(OutputArchive& out, const cereal::NameValuePair<T>& pair) { out(pair.value); }
  static void read(InputArchive& in, cereal::NameValuePair<T>& pair) { in(pair.value); }
};

template <class T>
struct Codec<cereal::SizeTag<T>> {
  static void write(OutputArchive& out, const cereal::SizeTag<T>& tag) {
    out.write_size(static_cast<std::uint64_t>(tag.size));
  }
  /// Believed as far as the bytes go: one for each element.
  static void read(InputArchive& in, cereal::SizeTag<T>& tag) {
    tag.size = static_cast<std::decay_t<T>>(in.read_count("a size"));
  }
};

template <class T>
struct Codec<cereal::BinaryData<T>> {
  static void write(OutputArchive& out, const cereal::BinaryData<T>& data) {
    out.write_raw(data.data, static_cast<std::size_t>(data.size));
  }
  static void read(InputArchive& in, cereal::BinaryData<T>& data) {
    in.read_raw(data.data, static_cast<std::size_t>(data.size), "binary data");
  }
};

template <class Wrapper>
struct BaseCodec {
  static void write(OutputArchive& out, const Wrapper& base) { out(*base.base_ptr); }
  static void read(InputArchive& in, Wrapper& base) { in(*base.base_ptr); }
};
template <class T>
struct Codec<cereal::base_class<T>> : BaseCodec<cereal::base_class<T>> {};
template <class T>
struct Codec<cereal::virtual_base_class<T>> : BaseCodec<cereal::virtual_base_class<T>> {};

// --- types that only cereal understands ---

template <class T>
concept CerealType =
    std::is_class_v<T> && !Container<T> && !ComplexNumber<T> && !is_wrapper<T> &&
    !is_shared_pointer<T> && cereal::traits::is_output_serializable<T, CerealOutput>::value &&
    cereal::traits::is_input_serializable<T, CerealInput>::value;

template <CerealType T>
struct Codec<T> {
  static void write(OutputArchive& out, const T& value) {
    const auto own = WriteScope::own_function(out, value);
    CerealOutput archive(out);
    static_cast<cereal::OutputArchive<CerealOutput, cereal::AllowEmptyClassElision>&>(archive)(
        value);
  }
  static void read(InputArchive& in, T& value) {
    CerealInput archive(in);
    static_cast<cereal::InputArchive<CerealInput, cereal::AllowEmptyClassElision>&>(archive)(value);
  }
};

/// Whether cereal's own functions are to be used for a part of what cereal writes.
template <class T>
inline constexpr bool is_cereals = CerealType<T>;

}  // namespace detail

template <class T>
void CerealOutput::write(const T& value) {
  detail::require_no_sharing<T>();
  if constexpr (detail::is_cereals<T>) {
    static_cast<Base&> (*this)(value);
  } else {
    out_(value);
  }
}

template <class T>
void CerealInput::read(T& value) {
  detail::require_no_sharing<std::remove_const_t<T>>();
  if constexpr (detail::is_cereals<T>) {
    static_cast<Base&> (*this)(value);
  } else {
    in_(value);
  }
}

}  // namespace ray
