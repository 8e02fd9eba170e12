// How fields become bytes (docs/wire.md, "Fields"). What a struct has is said once, by a function
// `walk(walker, value)`, and three walkers go through it: the first counts the bytes and checks the
// limits, the second writes, the third reads and believes nothing.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "task/messages.hpp"
#include "task/text.hpp"

namespace ray::detail {

/// All ids in the lists of one message.
inline constexpr std::size_t kIdsMax = 65'536;
inline constexpr std::size_t kContainsMax = 50'000;  // Of one value: beside it there are others.
/// Texts other than names: class names, places in source, reasons.
inline constexpr std::size_t kWireTextMax = std::size_t{64} << 10;
/// In a list of more than kShortList entries, each that is kept in more memory than it has bytes
/// is filled up to kEntryBytes with zeros. So no message takes much more memory than bytes.
inline constexpr std::size_t kShortList = 64;
inline constexpr std::size_t kEntryBytes = 32;

struct ListRule {
  std::size_t most;         // Entries.
  std::size_t least_bytes;  // Of an entry.
  bool filled;              // As said at kEntryBytes.

  bool fills(std::size_t entries) const noexcept { return filled && entries > kShortList; }
};

/// What is walked through, for messages of errors.
struct WirePosition {
  std::string_view type;
  const char* inside = nullptr;  // The field in which the fields are, if it is a struct.
};

[[noreturn]] void throw_unsendable(const WirePosition& position, const char* field,
                                   std::uint64_t size, std::uint64_t most);
[[noreturn]] void throw_unreadable(const WirePosition& position, const char* field, std::size_t at,
                                   std::size_t size, const std::string& what);

constexpr std::uint64_t zigzag(std::int64_t value) noexcept {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::int64_t unzigzag(std::uint64_t word) noexcept {
  return static_cast<std::int64_t>((word >> 1) ^ (~(word & 1) + 1));
}
constexpr std::size_t varint_bytes(std::uint64_t value) noexcept {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

/// Counts the bytes. Throws SerializationError where a limit is passed.
class WireMeasure {
public:
  explicit WireMeasure(std::string_view type) : position_{type} {}
  std::size_t size() const noexcept { return size_; }

  void id(const char*, std::uint64_t) noexcept { size_ += 8; }
  void count(const char*, std::uint64_t value) noexcept { size_ += varint_bytes(value); }
  void number(const char*, std::int64_t value) noexcept { size_ += varint_bytes(zigzag(value)); }
  void flag(const char*, bool) noexcept { size_ += 1; }
  template <class Enum>
  void choice(const char* field, Enum value, Enum last) {
    check(field, static_cast<std::uint64_t>(value), static_cast<std::uint64_t>(last));
    size_ += 1;
  }
  void bytes(const char* field, const Bytes& bytes, std::size_t most) {
    check(field, bytes.size(), most);
    block(bytes.size());
  }
  void text(const char* field, const std::string& text, std::size_t most) {
    check(field, text.size(), most);
    block(text.size());
  }
  void ids(const char* field, const std::vector<std::uint64_t>& ids, std::size_t most) {
    check(field, ids.size(), most);
    add_ids(field, ids.size());
    size_ += varint_bytes(ids.size()) + 8 * ids.size();
  }
  template <class T, class Each>
  void list(const char* field, const std::vector<T>& list, ListRule rule, Each each) {
    check(field, list.size(), rule.most);
    size_ += varint_bytes(list.size());
    for (const T& element : list) {
      const std::size_t start = size_;
      each(*this, element);
      if (rule.fills(list.size())) fill(start);
    }
  }
  template <class Number>
  void map(const char* field, const std::map<std::string, Number>& map, ListRule rule) {
    check(field, map.size(), rule.most);
    size_ += varint_bytes(map.size());
    for (const auto& [name, value] : map) {
      const std::size_t start = size_;
      text(field, name, kNameMax);
      number(field, value);
      if (rule.fills(map.size())) fill(start);
    }
  }
  void add_ids(const char* field, std::size_t ids) { check(field, ids_ += ids, kIdsMax); }

  /// Which fields that may be left out are there.
  template <class Present>
  std::uint64_t flags(const char*, Present present, unsigned) {
    const std::uint64_t has = present();
    size_ += varint_bytes(has);
    return has;
  }
  template <class Present>
  void check_flags(const char*, std::uint64_t, Present) noexcept {}
  void set(bool, bool) noexcept {}
  void enter(const char* field) noexcept { position_.inside = field; }
  void leave() noexcept { position_.inside = nullptr; }

private:
  void check(const char* field, std::uint64_t size, std::uint64_t most) const {
    if (size > most) [[unlikely]]
      throw_unsendable(position_, field, size, most);
  }
  void block(std::size_t size) noexcept { size_ += varint_bytes(size) + size; }
  void fill(std::size_t start) noexcept {
    if (size_ - start < kEntryBytes) size_ = start + kEntryBytes;
  }

  WirePosition position_;
  std::size_t size_ = 0;
  std::size_t ids_ = 0;
};

/// Writes what was measured, into as much room.
class WireWriter {
public:
  explicit WireWriter(std::byte* at) : at_(at) {}
  const std::byte* at() const noexcept { return at_; }

  void id(const char*, std::uint64_t value) noexcept {
    static_assert(std::endian::native == std::endian::little);
    std::memcpy(at_, &value, sizeof value);
    at_ += sizeof value;
  }
  void count(const char*, std::uint64_t value) noexcept {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<std::byte>(value | 0x80);
    *at_++ = static_cast<std::byte>(value);
  }
  void number(const char*, std::int64_t value) noexcept { count(nullptr, zigzag(value)); }
  void flag(const char*, bool value) noexcept { *at_++ = static_cast<std::byte>(value); }
  template <class Enum>
  void choice(const char*, Enum value, Enum) noexcept {
    *at_++ = static_cast<std::byte>(value);
  }
  void bytes(const char*, const Bytes& bytes, std::size_t) noexcept {
    block(bytes.data(), bytes.size());
  }
  void text(const char*, const std::string& text, std::size_t) noexcept {
    block(text.data(), text.size());
  }
  void ids(const char*, const std::vector<std::uint64_t>& ids, std::size_t) noexcept {
    count(nullptr, ids.size());
    raw(ids.data(), 8 * ids.size());
  }
  template <class T, class Each>
  void list(const char*, const std::vector<T>& list, ListRule rule, Each each) {
    count(nullptr, list.size());
    for (const T& element : list) {
      const std::byte* start = at_;
      each(*this, element);
      if (rule.fills(list.size())) fill(start);
    }
  }
  template <class Number>
  void map(const char*, const std::map<std::string, Number>& map, ListRule rule) {
    count(nullptr, map.size());
    for (const auto& [name, value] : map) {
      const std::byte* start = at_;
      block(name.data(), name.size());
      number(nullptr, value);
      if (rule.fills(map.size())) fill(start);
    }
  }
  void add_ids(const char*, std::size_t) noexcept {}

  template <class Present>
  std::uint64_t flags(const char*, Present present, unsigned) {
    const std::uint64_t has = present();
    count(nullptr, has);
    return has;
  }
  template <class Present>
  void check_flags(const char*, std::uint64_t, Present) noexcept {}
  void set(bool, bool) noexcept {}
  void enter(const char*) noexcept {}
  void leave() noexcept {}

private:
  void raw(const void* from, std::size_t size) noexcept {
    if (size != 0) std::memcpy(at_, from, size);
    at_ += size;
  }
  void block(const void* from, std::size_t size) noexcept {
    count(nullptr, size);
    raw(from, size);
  }
  void fill(const std::byte* start) noexcept {
    while (at_ < start + kEntryBytes) *at_++ = std::byte{0};
  }

  std::byte* at_;
};

/// Reads. Everything that is not as a WireWriter writes it is a SerializationError that says what
/// was read and where. Room is made for what the bytes that are left can hold.
class WireReader {
public:
  WireReader(std::string_view type, std::span<const std::byte> bytes, std::size_t at = 0)
      : position_{type},
        start_(bytes.data()),
        at_(bytes.data() + at),
        end_(bytes.data() + bytes.size()) {}

  [[noreturn]] void fail(const char* field, const std::string& what) const {
    throw_unreadable(position_, field, static_cast<std::size_t>(at_ - start_),
                     static_cast<std::size_t>(end_ - start_), what);
  }
  void finish() const {
    if (at_ != end_) [[unlikely]]
      fail("end", std::to_string(remaining()) + " bytes are left over");
  }

  void id(const char* field, std::uint64_t& value) {
    need(field, sizeof value);
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
  }
  template <class Unsigned>
  void count(const char* field, Unsigned& value) {
    value = static_cast<Unsigned>(varint(field, std::numeric_limits<Unsigned>::max()));
  }
  template <class Signed>
  void number(const char* field, Signed& value) {
    const std::int64_t wide = unzigzag(varint(field, UINT64_MAX));
    value = static_cast<Signed>(wide);
    if (value != wide) [[unlikely]]
      fail(field, "it does not fit into " + std::to_string(8 * sizeof value) + " bits");
  }
  void flag(const char* field, bool& value) { value = byte(field, 1) != 0; }
  template <class Enum>
  void choice(const char* field, Enum& value, Enum last) {
    value = static_cast<Enum>(byte(field, static_cast<std::uint8_t>(last)));
  }
  void bytes(const char* field, Bytes& bytes, std::size_t most) {
    const std::size_t size = list_size(field, {most, 1, false});
    bytes.assign(at_, at_ + size);
    at_ += size;
  }
  void text(const char* field, std::string& text, std::size_t most) {
    const std::size_t size = list_size(field, {most, 1, false});
    text.assign(reinterpret_cast<const char*>(at_), size);
    at_ += size;
  }
  void ids(const char* field, std::vector<std::uint64_t>& ids, std::size_t most) {
    const std::size_t size = list_size(field, {most, 8, false});
    add_ids(field, size);
    ids.resize(size);
    if (size != 0) std::memcpy(ids.data(), at_, 8 * size);
    at_ += 8 * size;
  }
  template <class T, class Each>
  void list(const char* field, std::vector<T>& list, ListRule rule, Each each) {
    const std::size_t size = list_size(field, rule);
    list.reserve(size);
    for (std::size_t i = 0; i < size; ++i) {
      const std::byte* start = at_;
      each(*this, list.emplace_back());
      if (rule.fills(size)) skip_filling(field, start);
    }
  }
  template <class Number>
  void map(const char* field, std::map<std::string, Number>& map, ListRule rule) {
    const std::size_t size = list_size(field, rule);
    std::string name;
    for (std::size_t i = 0; i < size; ++i) {
      const std::byte* start = at_;
      text(field, name, kNameMax);
      if (!map.empty() && name <= map.rbegin()->first) [[unlikely]]
        fail(field, "its names are not in ascending order");
      Number value = 0;
      number(field, value);
      map.emplace_hint(map.end(), std::move(name), value);
      name = {};
      if (rule.fills(size)) skip_filling(field, start);
    }
  }
  void add_ids(const char* field, std::size_t ids) {
    if (ids_ += ids; ids_ > kIdsMax) [[unlikely]]
      fail(field, "more than " + std::to_string(kIdsMax) + " ids in one message");
  }

  /// `bits`: how many there are.
  template <class Present>
  std::uint64_t flags(const char* field, Present, unsigned bits) {
    return varint(field, (std::uint64_t{1} << bits) - 1);
  }
  template <class Present>
  void check_flags(const char* field, std::uint64_t has, Present present) {
    if (present() != has) [[unlikely]]
      fail(field, "a field is there that has its default value");
  }
  void set(bool& value, bool has) noexcept { value = has; }
  void enter(const char* field) noexcept { position_.inside = field; }
  void leave() noexcept { position_.inside = nullptr; }

private:
  // The text of a refusal is made out of line, so that what is usual stays small.
  [[noreturn, gnu::cold, gnu::noinline]] void fail_range(const char* field, std::uint64_t value,
                                                         std::uint64_t most) const {
    fail(field, "it is " + std::to_string(value) + ", at most " + std::to_string(most));
  }
  [[noreturn, gnu::cold, gnu::noinline]] void fail_missing(const char* field,
                                                           std::uint64_t number) const {
    fail(field, std::to_string(number) + " more are needed than are there");
  }

  std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  [[gnu::always_inline]] void need(const char* field, std::size_t size) const {
    if (size > remaining()) [[unlikely]]
      fail_missing(field, size - remaining());
  }
  [[gnu::always_inline]] std::uint8_t byte(const char* field, std::uint8_t most) {
    need(field, 1);
    const auto value = static_cast<std::uint8_t>(*at_);
    if (value > most) [[unlikely]]
      fail_range(field, value, most);
    ++at_;
    return value;
  }
  [[gnu::always_inline]] std::uint64_t varint(const char* field, std::uint64_t most) {
    need(field, 1);
    std::uint64_t value = static_cast<std::uint8_t>(*at_++);
    if (value >= 0x80) value = long_varint(field, value & 0x7f);
    if (value > most) [[unlikely]]
      fail_range(field, value, most);
    return value;
  }
  [[gnu::noinline]] std::uint64_t long_varint(const char* field, std::uint64_t value) {
    for (unsigned shift = 7;; shift += 7) {
      need(field, 1);
      const auto byte = static_cast<std::uint8_t>(*at_++);
      if (shift == 63 && byte > 1) [[unlikely]]
        fail(field, "a number of more than 64 bits");
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) {
        if (byte == 0) [[unlikely]]
          fail(field, "a number written longer than it is");
        return value;
      }
    }
  }
  [[gnu::always_inline]] std::size_t list_size(const char* field, ListRule rule) {
    const std::uint64_t size = varint(field, rule.most);
    const std::size_t fits = rule.fills(static_cast<std::size_t>(size))
                                 ? remaining() / kEntryBytes
                                 : remaining() / rule.least_bytes;
    if (size > fits) [[unlikely]]
      fail_missing(field, size - fits);
    return static_cast<std::size_t>(size);
  }
  void skip_filling(const char* field, const std::byte* start) {
    const auto taken = static_cast<std::size_t>(at_ - start);
    if (taken >= kEntryBytes) return;
    need(field, kEntryBytes - taken);
    for (const std::byte* end = start + kEntryBytes; at_ < end; ++at_) {
      if (*at_ != std::byte{0}) [[unlikely]]
        fail(field, "an entry is filled up with something else than zeros");
    }
  }

  WirePosition position_;
  const std::byte* start_;
  const std::byte* at_;
  const std::byte* end_;
  std::size_t ids_ = 0;
};

}  // namespace ray::detail
