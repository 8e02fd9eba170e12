// Messages as bytes and back, as docs/wire.md shows them. There is one way to write a message: what
// is read without complaint is written as the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <variant>

#include "task/messages.hpp"
#include "task/wire.hpp"

namespace ray::detail {

/// Said in Hello. Goes up with every change of docs/wire.md that a peer could notice.
inline constexpr std::uint32_t kWireVersion = 1;

// Limits of one message; more in wire.hpp (ids, texts) and text.hpp (names).
inline constexpr std::size_t kMessageMax = std::size_t{16} << 20;  // Bytes.
inline constexpr std::size_t kNeedsMax = 10'000;                   // Objects a task waits for.
inline constexpr std::size_t kValuesMax = 65'536;                  // In Run and Done.
inline constexpr std::size_t kDemandEntriesMax = 1'024;            // Resources besides the CPU.
inline constexpr std::size_t kGroupsMax = 1'024;                   // An actor's concurrency groups.

template <class M, class V>
inline constexpr bool is_one_of = false;
template <class M, class... Of>
inline constexpr bool is_one_of<M, std::variant<Of...>> = (std::is_same_v<M, Of> || ...);
template <class M>
concept OneMessage = is_one_of<M, Message>;

/// Append the message's bytes. Throw SerializationError if it passes a limit; `out` is then as it
/// was. Nothing else is allocated than room in `out`.
template <OneMessage M>
void encode(const M& message, Bytes& out);
void encode(const Message& message, Bytes& out);

/// Throws SerializationError, which names the message, the field and the offset, unless the bytes
/// are exactly one message. Allocates at most 4 times their size and 64 KiB.
Message decode(std::span<const std::byte> bytes);

}  // namespace ray::detail
