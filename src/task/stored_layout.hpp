// How a value lies in the store (docs/wire.md, "A stored object"): what an archive wrote, and the
// blocks that it noted beside, each where a vector register can load it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ray::detail {

inline constexpr std::uint32_t kStoredMagic = 0x4f59'4152;  // "RAYO"
inline constexpr std::uint64_t kStoredAlign = 64;           // Of each block, and of the object.
inline constexpr std::size_t kStoredBlocksMax = std::size_t{1} << 20;

/// Bytes that an object takes. Throws SerializationError for more blocks than kStoredBlocksMax or
/// a sum over 64 bits.
std::uint64_t stored_size(std::uint64_t archive_size, std::span<const std::uint64_t> block_sizes);

/// Writes all stored_size() bytes, also those between the blocks. Requires: as much room.
void write_stored(std::byte* at, std::span<const std::byte> archive,
                  std::span<const std::span<const std::byte>> blocks);

/// Room before a block that is written where it will lie, for what comes before it.
inline constexpr std::uint64_t kStoredRoom = 256;
/// Whether an archive of that size fits there.
bool fits_before_block(std::uint64_t archive_size) noexcept;
/// The same where the only block lies in its place already, at kStoredRoom.
void write_stored_before(std::byte* at, std::span<const std::byte> archive,
                         std::uint64_t block_size);

/// Lifetime: of the object's bytes.
struct StoredView {
  std::span<const std::byte> archive;
  std::vector<std::span<const std::byte>> blocks;
};

/// Throws SerializationError. What lies behind the last block is not looked at. Another process
/// that changes the bytes meanwhile can make it throw, but not make the view leave `object`.
StoredView read_stored(std::span<const std::byte> object);

}  // namespace ray::detail
