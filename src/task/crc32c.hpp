// CRC-32C (Castagnoli, RFC 3720): what tells that bytes are no longer those that were written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ray::detail {

/// Of bytes that follow those whose checksum is `before`.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;
/// The same without the processor's instruction.
std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

}  // namespace ray::detail
