#include "fuzz/targets.hpp"
#include "support/allocations.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include <ray/error.hpp>

#include "task/stored_layout.hpp"

/// What is read lies within the bytes, apart from one another, and can be written and read again.
void fuzz::stored(Bytes bytes) {
  using namespace ray::detail;
  std::optional<StoredView> view;
  const support::Allocations allocations;
  try {
    view = read_stored(bytes);
  } catch (const ray::SerializationError&) {
  }
  require(allocations.bytes() <= allocation_limit(bytes.size()), "reading allocates too much");
  if (!view) return;

  const std::byte* end = view->archive.data() + view->archive.size();
  std::vector<std::uint64_t> sizes;
  for (const Bytes block : view->blocks) {
    require(block.data() >= end, "a block overlaps");
    require((block.data() - bytes.data()) % kStoredAlign == 0, "a block is not aligned");
    end = block.data() + block.size();
    sizes.push_back(block.size());
  }
  require(view->archive.data() >= bytes.data() && end <= bytes.data() + bytes.size(),
          "the view leaves the object");

  std::vector<std::byte> room(stored_size(view->archive.size(), sizes), std::byte{0xee});
  write_stored(room.data(), view->archive, view->blocks);
  const StoredView again = read_stored(room);
  require(std::ranges::equal(view->archive, again.archive), "the archive has changed");
  require(std::ranges::equal(view->blocks, again.blocks,
                             [](Bytes a, Bytes b) { return std::ranges::equal(a, b); }),
          "a block has changed");
}
