// The two archives: a value as bytes, and bytes as a value (docs/processes.md, "Serialization").
//
// Types that they know need nothing from the user; others say how, with the names that cereal gave
// these things: `serialize(archive)` as a member or `serialize(archive, value)` beside the type, or
// a pair of `save` and `load` likewise. A type that says nothing and is no plain struct throws
// SerializationError where it is written.
//
// What is read may come from a broken or hostile peer. A size is believed as far as the bytes go
// that are left; depth is limited; no pointer is read. Every fault is a SerializationError that
// says what was read and where.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <ray/error.hpp>
#include <ray/task/access.hpp>
#include <ray/task/fields.hpp>

namespace ray {

class OutputArchive;
class InputArchive;

namespace detail {

struct Object;
struct ActorCore;
struct ActorClass;
class WriteScope;

/// How deep values may lie in one another (reliability.md, 4.2).
inline constexpr int kDepthMax = 64;

/// Passed on by reference, and made only for that: what it names counts, not where it lies.
template <class T>
inline constexpr bool is_wrapper = false;

/// How a type reads and writes; specialized in values.hpp, and by <ray/cereal.hpp>.
template <class T>
struct Codec;

/// Whoever knows references: writes one, and makes one again. Given by the runtime.
class ReferenceCodec {
public:
  virtual ~ReferenceCodec() = default;
  /// Notes that the value contains it; what is written in its place.
  virtual std::uint64_t write(Object* object) = 0;
  /// The object of what was written, with a reference; `make` makes a placeholder for its type.
  virtual Object* read(std::uint64_t word, Object* (*make)(std::uint64_t id)) = 0;
  virtual void write_actor(OutputArchive& out, ActorCore* actor) = 0;
  virtual ActorCore* read_actor(InputArchive& in, const ActorClass* actor_class) = 0;
};

[[noreturn]] void throw_not_serializable(std::string_view type);
[[noreturn]] void throw_no_references(std::string_view type);
[[noreturn]] void throw_too_deep(std::string_view type);
[[noreturn]] void throw_inherited(std::string_view type, std::string_view base);

}  // namespace detail

/// Writes values. Lifetime: contiguous data from `beside_bytes` on that is part of a written value
/// is not copied, only noted (beside()), and must live until the archive has been used up. What a
/// type's own function writes is copied unless it lies in the value: it may be gone when the
/// function ends. Threads: one.
class OutputArchive {
public:
  using is_saving = std::true_type;
  using is_loading = std::false_type;
  using Piece = std::span<const std::byte>;

  explicit OutputArchive(std::size_t beside_bytes = SIZE_MAX,
                         detail::ReferenceCodec* references = nullptr)
      : beside_bytes_(beside_bytes), references_(references) {}

  template <class... T>
  OutputArchive& operator()(const T&... values) {
    (write(values), ...);
    return *this;
  }
  template <class T>
  OutputArchive& operator&(const T& value) {
    return (*this)(value);
  }
  template <class T>
  OutputArchive& operator<<(const T& value) {
    return (*this)(value);
  }

  /// The bytes written so far, without what lies beside them.
  const std::vector<std::byte>& bytes() const noexcept { return bytes_; }
  /// Contiguous data that shall travel beside the bytes, in the order in which it was written.
  const std::vector<Piece>& beside() const noexcept { return beside_; }

  // For codecs.
  void write_raw(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  template <class Number>
  void write_number(Number value) {
    static_assert(std::endian::native == std::endian::little);
    write_raw(&value, sizeof value);
  }
  /// 7 bits a byte, the lowest first.
  void write_size(std::uint64_t size);
  /// Contiguous numbers.
  void write_block(const void* data, std::size_t size);
  void write_reference(detail::Object* object, std::string_view type);
  void write_actor(detail::ActorCore* actor);

private:
  friend detail::WriteScope;
  /// What is known to outlive the writing: everything, or while a type's own function runs, the
  /// value from `begin` to `end`.
  struct Lifetime {
    std::uintptr_t begin = 0;
    std::uintptr_t end = UINTPTR_MAX;
    bool ends_soon = false;  // Of what is being written.
  };

  template <class T>
  void write(const T& value);

  Lifetime lifetime_;
  std::vector<std::byte> bytes_;
  std::vector<Piece> beside_;
  std::size_t beside_bytes_;
  detail::ReferenceCodec* references_;
  int depth_ = 0;
};

/// Reads what an OutputArchive wrote. Lifetime: of the bytes it was given. Threads: one.
class InputArchive {
public:
  using is_saving = std::false_type;
  using is_loading = std::true_type;
  using Piece = std::span<const std::byte>;

  explicit InputArchive(Piece bytes, std::span<const Piece> beside = {},
                        detail::ReferenceCodec* references = nullptr,
                        std::shared_ptr<void> keeper = nullptr)
      : bytes_(bytes), beside_(beside), references_(references), keeper_(std::move(keeper)) {}

  template <class... T>
  InputArchive& operator()(T&&... values) {
    (read(values), ...);
    return *this;
  }
  template <class T>
  InputArchive& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  InputArchive& operator>>(T&& value) {
    return (*this)(value);
  }

  std::size_t remaining() const noexcept { return bytes_.size() - at_; }
  /// Throws unless all was read.
  void finish(std::string_view type) const;

  // For codecs. All throw SerializationError at the end of the bytes.
  void read_raw(void* into, std::size_t size, std::string_view type);
  template <class Number>
  Number read_number() {
    Number value;
    read_raw(&value, sizeof value, detail::type_text<Number>());
    return value;
  }
  /// At most `most`; written in one way only.
  std::uint64_t read_size(std::uint64_t most, std::string_view type);
  /// How many elements follow, each of which takes at least one byte.
  std::size_t read_count(std::string_view type) {
    return static_cast<std::size_t>(read_size(remaining(), type));
  }
  /// Contiguous numbers of `unit` bytes each, wherever they lie; valid as long as the bytes.
  Piece read_block(std::size_t unit, std::string_view type);
  detail::Object* read_reference(detail::Object* (*make)(std::uint64_t), std::string_view type);
  /// Whether the block lies beside the bytes, not among them.
  bool is_beside(Piece block) const noexcept {
    return block.data() < bytes_.data() || block.data() >= bytes_.data() + bytes_.size();
  }
  /// What keeps the blocks beside the bytes where they are; null if nothing does.
  const std::shared_ptr<void>& keeper() const noexcept { return keeper_; }
  detail::ActorCore* read_actor(const detail::ActorClass* actor_class);
  [[noreturn]] void fail(std::string_view type, std::string_view what) const;

private:
  template <class T>
  void read(T& value);

  Piece bytes_;
  std::span<const Piece> beside_;
  detail::ReferenceCodec* references_;
  std::shared_ptr<void> keeper_;
  std::size_t at_ = 0;
  std::size_t next_beside_ = 0;
  int depth_ = 0;
};

namespace detail {

/// What is known of lifetimes while something is written: until this goes.
class WriteScope {
public:
  /// A type's own function writes `value`.
  template <class T>
  static WriteScope own_function(OutputArchive& out, const T& value) {
    const auto begin = reinterpret_cast<std::uintptr_t>(&value);
    return {out, begin, begin + sizeof(T), out.lifetime_.ends_soon};
  }
  /// What is written was made for the occasion.
  static WriteScope temporary(OutputArchive& out) { return {out, 0, 0, out.lifetime_.ends_soon}; }
  /// `value` is written, and what it is made of lives as long as it does.
  static WriteScope part(OutputArchive& out, const void* value) {
    const OutputArchive::Lifetime& outer = out.lifetime_;
    const auto at = reinterpret_cast<std::uintptr_t>(value);
    return {out, 0, UINTPTR_MAX, outer.ends_soon || at < outer.begin || at >= outer.end};
  }
  ~WriteScope() { lifetime_ = outer_; }
  WriteScope(const WriteScope&) = delete;
  WriteScope& operator=(const WriteScope&) = delete;

private:
  WriteScope(OutputArchive& out, std::uintptr_t begin, std::uintptr_t end, bool ends_soon)
      : lifetime_(out.lifetime_), outer_(out.lifetime_) {
    lifetime_ = {begin, end, ends_soon};
  }
  OutputArchive::Lifetime& lifetime_;
  OutputArchive::Lifetime outer_;
};

template <class T>
void refuse_inherited() {
  if constexpr (InheritsItsFunction<T>) throw_inherited(type_text<T>(), type_text<WriterOf<T>>());
}

template <class T>
concept HasCodec = requires(const T& value, OutputArchive& out) {
  Codec<T>::write(out, value);
};

/// Whether an array of T is its bytes.
template <class T>
inline constexpr bool is_number = (std::is_arithmetic_v<T> ||
                                   std::is_enum_v<T>)&&!std::is_same_v<T, long double>;

template <class T>
void write_value(OutputArchive& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    out.write_number(static_cast<std::uint8_t>(value));
  } else if constexpr (is_number<T>) {
    out.write_number(value);
  } else if constexpr (SavesItself<T>) {
    refuse_inherited<T>();
    const auto own = WriteScope::own_function(out, value);
    ray::Access::save(out, value);
  } else if constexpr (SerializesItself<T, OutputArchive>) {
    refuse_inherited<T>();
    const auto own = WriteScope::own_function(out, value);
    ray::Access::serialize(out, const_cast<T&>(value));
  } else if constexpr (SavedBeside<T>) {
    const auto own = WriteScope::own_function(out, value);
    save(out, value);
  } else if constexpr (SerializedBeside<T, OutputArchive>) {
    const auto own = WriteScope::own_function(out, value);
    serialize(out, const_cast<T&>(value));
  } else if constexpr (HasCodec<T>) {
    Codec<T>::write(out, value);
  } else if constexpr (std::is_bounded_array_v<T>) {
    for (const auto& element : value) out(element);
  } else if constexpr (field_count<T>() != 0) {
    with_fields(value, [&](const auto&... fields) { out(fields...); });
  } else if constexpr (std::is_empty_v<T> && std::is_default_constructible_v<T>) {
    out.write_number(std::uint8_t{0});
  } else {
    throw_not_serializable(type_text<T>());
  }
}

template <class T>
void read_value(InputArchive& in, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    const auto byte = in.read_number<std::uint8_t>();
    if (byte > 1) in.fail("bool", "is neither 0 nor 1");
    value = byte != 0;
  } else if constexpr (is_number<T>) {
    value = in.read_number<T>();
  } else if constexpr (SavesItself<T>) {
    ray::Access::load(in, value);
  } else if constexpr (SerializesItself<T, InputArchive>) {
    static_assert(!SerializesItself<const T, InputArchive>,
                  "ray: serialize must not be const: it reads as well");
    ray::Access::serialize(in, value);
  } else if constexpr (SavedBeside<T>) {
    load(in, value);
  } else if constexpr (SerializedBeside<T, InputArchive>) {
    serialize(in, value);
  } else if constexpr (HasCodec<T>) {
    Codec<T>::read(in, value);
  } else if constexpr (std::is_bounded_array_v<T>) {
    for (auto& element : value) in(element);
  } else if constexpr (field_count<T>() != 0) {
    with_fields(value, [&](auto&... fields) { in(fields...); });
  } else if constexpr (std::is_empty_v<T> && std::is_default_constructible_v<T>) {
    in.read_number<std::uint8_t>();
  } else {
    throw_not_serializable(type_text<T>());
  }
}

/// Counts the depth of what is being read or written.
class Deeper {
public:
  Deeper(int& depth, std::string_view type) : depth_(depth) {
    if (depth_ >= kDepthMax) throw_too_deep(type);
    ++depth_;
  }
  ~Deeper() { --depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

private:
  int& depth_;
};

}  // namespace detail

template <class T>
void OutputArchive::write(const T& value) {
  if constexpr (detail::is_number<T>) {
    detail::write_value(*this, value);
  } else {
    const detail::Deeper deeper(depth_, detail::type_text<T>());
    if constexpr (detail::is_wrapper<T>) {
      detail::write_value(*this, value);
    } else {
      const auto part = detail::WriteScope::part(*this, &value);
      detail::write_value(*this, value);
    }
  }
}

template <class T>
void InputArchive::read(T& value) {
  if constexpr (detail::is_number<T>) {
    detail::read_value(*this, value);
  } else {
    const detail::Deeper deeper(depth_, detail::type_text<T>());
    detail::read_value(*this, value);
  }
}

}  // namespace ray
