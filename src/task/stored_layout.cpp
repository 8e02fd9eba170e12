#include "task/stored_layout.hpp"

#include <atomic>
#include <bit>
#include <cstring>
#include <string>

#include <ray/error.hpp>

namespace ray::detail {

namespace {

struct StoredHeader {
  std::uint32_t magic;
  std::uint32_t blocks;
  std::uint64_t archive_size;
};
static_assert(sizeof(StoredHeader) == 16 && std::endian::native == std::endian::little);

struct StoredBlock {
  std::uint64_t offset;
  std::uint64_t size;
};
static_assert(sizeof(StoredBlock) == 16);

[[noreturn]] void fail_stored(const std::string& what) {
  throw SerializationError("ray: a stored object: " + what);
}

std::uint64_t add_sizes(std::uint64_t a, std::uint64_t b) {
  if (a > UINT64_MAX - b) fail_stored("its size does not fit into 64 bits");
  return a + b;
}
std::uint64_t aligned(std::uint64_t offset) {
  return add_sizes(offset, kStoredAlign - 1) & ~(kStoredAlign - 1);
}

/// Copies what others may change. What is checked is then what is used: the fence keeps the
/// compiler from reading the original again.
template <class T>
T copy_once(const std::byte* from) {
  T copy;
  std::memcpy(&copy, from, sizeof copy);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return copy;
}

std::uint64_t archive_offset(std::uint64_t blocks) {
  return sizeof(StoredHeader) + sizeof(StoredBlock) * blocks;
}

void zero(std::byte* at, std::uint64_t from, std::uint64_t to) {
  if (to > from) std::memset(at + from, 0, static_cast<std::size_t>(to - from));
}

}  // namespace

std::uint64_t stored_size(std::uint64_t archive_size, std::span<const std::uint64_t> block_sizes) {
  if (block_sizes.size() > kStoredBlocksMax) {
    fail_stored("it has " + std::to_string(block_sizes.size()) + " blocks, at most " +
                std::to_string(kStoredBlocksMax) + " are possible");
  }
  std::uint64_t end = add_sizes(archive_offset(block_sizes.size()), archive_size);
  for (const std::uint64_t size : block_sizes) end = add_sizes(aligned(end), size);
  return end;
}

void write_stored(std::byte* at, std::span<const std::byte> archive,
                  std::span<const std::span<const std::byte>> blocks) {
  const StoredHeader header{kStoredMagic, static_cast<std::uint32_t>(blocks.size()),
                            archive.size()};
  std::memcpy(at, &header, sizeof header);
  std::uint64_t end = archive_offset(blocks.size());
  if (!archive.empty()) std::memcpy(at + end, archive.data(), archive.size());
  end += archive.size();
  std::byte* entry = at + sizeof header;
  for (const auto& data : blocks) {
    const StoredBlock block{aligned(end), data.size()};
    zero(at, end, block.offset);
    std::memcpy(entry, &block, sizeof block);
    entry += sizeof block;
    if (!data.empty()) std::memcpy(at + block.offset, data.data(), data.size());
    end = block.offset + block.size;
  }
}

bool fits_before_block(std::uint64_t archive_size) noexcept {
  return archive_size <= kStoredRoom - archive_offset(1);
}

void write_stored_before(std::byte* at, std::span<const std::byte> archive,
                         std::uint64_t block_size) {
  const StoredHeader header{kStoredMagic, 1, archive.size()};
  const StoredBlock block{kStoredRoom, block_size};
  std::memcpy(at, &header, sizeof header);
  std::memcpy(at + sizeof header, &block, sizeof block);
  const std::uint64_t end = archive_offset(1);
  if (!archive.empty()) std::memcpy(at + end, archive.data(), archive.size());
  zero(at, end + archive.size(), kStoredRoom);
}

StoredView read_stored(std::span<const std::byte> object) {
  if (object.size() < sizeof(StoredHeader)) {
    fail_stored("its " + std::to_string(object.size()) + " bytes have no room for its header");
  }
  const auto header = copy_once<StoredHeader>(object.data());
  if (header.magic != kStoredMagic) fail_stored("it does not begin as one");
  std::uint64_t end = archive_offset(header.blocks);
  if (header.blocks > kStoredBlocksMax || end > object.size() ||
      header.archive_size > object.size() - end) {
    fail_stored(std::to_string(header.blocks) + " blocks and an archive of " +
                std::to_string(header.archive_size) + " bytes do not fit into its " +
                std::to_string(object.size()) + " bytes");
  }
  StoredView view;
  view.archive =
      object.subspan(static_cast<std::size_t>(end), static_cast<std::size_t>(header.archive_size));
  end += header.archive_size;
  view.blocks.reserve(header.blocks);
  for (std::uint32_t i = 0; i < header.blocks; ++i) {
    const auto block = copy_once<StoredBlock>(object.data() + archive_offset(i));
    const auto where = [&] {
      return "block " + std::to_string(i) + " of " + std::to_string(block.size) + " bytes at " +
             std::to_string(block.offset);
    };
    if (block.offset % kStoredAlign != 0) fail_stored(where() + " is not aligned");
    if (block.offset < end) fail_stored(where() + " overlaps what lies before it");
    if (block.offset > object.size() || block.size > object.size() - block.offset) {
      fail_stored(where() + " does not fit into its " + std::to_string(object.size()) + " bytes");
    }
    view.blocks.push_back(object.subspan(static_cast<std::size_t>(block.offset),
                                         static_cast<std::size_t>(block.size)));
    end = block.offset + block.size;
  }
  return view;
}

}  // namespace ray::detail
