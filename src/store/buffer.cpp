#include <ray/store/buffer.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <mutex>
#include <new>
#include <vector>

namespace ray::detail {

namespace {

constexpr std::uint64_t kKeptMax = std::uint64_t{256} << 20;  // Bytes kept for the next arrays.
constexpr std::size_t kSmallest = 4096;                       // Below it the heap is good enough.

/// A power of two and the three steps to the next: wastes at most a quarter.
std::size_t rounded(std::size_t bytes) {
  if (bytes <= kSmallest) return bytes;
  const std::size_t step = std::bit_floor(bytes) / 4;
  return (bytes + step - 1) / step * step;
}
std::size_t class_of(std::size_t size) {
  const auto power = static_cast<std::size_t>(std::bit_width(size) - 1);
  return power * 4 + (size - std::bit_floor(size)) / (std::bit_floor(size) / 4);
}

struct KeptBlocks {
  std::mutex mutex;
  std::array<std::vector<void*>, 64 * 4> blocks;  // Guarded by mutex; by class.
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<std::uint64_t> in_use{0};
};
/// Never destroyed: arrays may live in static objects.
KeptBlocks& kept() {
  static KeptBlocks* instance = new KeptBlocks;
  return *instance;
}

}  // namespace

void* buffer_allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  KeptBlocks& store = kept();
  store.in_use.fetch_add(bytes, std::memory_order_relaxed);
  if (size > kSmallest) {
    const std::lock_guard lock(store.mutex);
    auto& blocks = store.blocks[class_of(size)];
    if (!blocks.empty()) {
      void* block = blocks.back();
      blocks.pop_back();
      store.bytes.fetch_sub(size, std::memory_order_relaxed);
      return block;
    }
  }
  return ::operator new(size, std::align_val_t(kBufferAlign));
}

void buffer_free(void* buffer, std::size_t bytes) noexcept {
  const std::size_t size = rounded(bytes);
  KeptBlocks& store = kept();
  store.in_use.fetch_sub(bytes, std::memory_order_relaxed);
  if (size > kSmallest && store.bytes.load(std::memory_order_relaxed) + size <= kKeptMax) {
    const std::lock_guard lock(store.mutex);
    try {
      store.blocks[class_of(size)].push_back(buffer);
      store.bytes.fetch_add(size, std::memory_order_relaxed);
      return;
    } catch (const std::bad_alloc&) {
      // No room to remember it: given back below.
    }
  }
  ::operator delete(buffer, std::align_val_t(kBufferAlign));
}

BufferUse buffer_use() noexcept {
  return {kept().in_use.load(std::memory_order_relaxed),
          kept().bytes.load(std::memory_order_relaxed)};
}

}  // namespace ray::detail
