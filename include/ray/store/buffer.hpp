// Memory for arrays: 64-byte aligned blocks that the store keeps for the next array of about that
// size instead of giving them back to the system, which would hand them out again page by page
// (the first touch of a fresh page costs about 1,850 ns).
#pragma once

#include <cstddef>
#include <cstdint>

namespace ray::detail {

inline constexpr std::size_t kBufferAlign = 64;

/// Threads: any. Throws std::bad_alloc.
void* buffer_allocate(std::size_t bytes);
/// Requires: `bytes` is what it was allocated with.
void buffer_free(void* buffer, std::size_t bytes) noexcept;

/// Bytes in use by arrays of this process, and kept for the next ones.
struct BufferUse {
  std::uint64_t in_use = 0;
  std::uint64_t kept = 0;
};
BufferUse buffer_use() noexcept;

}  // namespace ray::detail
