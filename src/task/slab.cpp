#include <ray/task/slab.hpp>

#include <sys/mman.h>

#include <mutex>

namespace ray::detail {

constinit thread_local SlabCache* slab_cache = nullptr;

namespace {

constexpr std::size_t kRegionBytes = std::size_t{2} << 20;
constexpr std::size_t kChunkHeaderBytes = 64;
constexpr std::uint32_t kOutgoingMax = 32;

/// What all caches share. Never destroyed: references may outlive every other static.
struct SlabGlobals {
  std::mutex mutex;
  char* region = nullptr;  // Guarded by mutex.
  char* region_end = nullptr;
  SlabCache* idle = nullptr;  // Caches whose threads ended.
};

SlabGlobals& globals() {
  static SlabGlobals* instance = new SlabGlobals;
  return *instance;
}

/// A fresh chunk from a 2 MiB region, which the kernel may back with one huge page.
char* new_chunk() {
  SlabGlobals& g = globals();
  const std::lock_guard lock(g.mutex);
  if (g.region == g.region_end) {
    void* raw = ::mmap(nullptr, 2 * kRegionBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc();
    const auto start = reinterpret_cast<std::uintptr_t>(raw);
    const std::uintptr_t aligned = (start + kRegionBytes - 1) & ~(kRegionBytes - 1);
    if (aligned != start) ::munmap(raw, aligned - start);
    const std::uintptr_t end = start + 2 * kRegionBytes;
    if (end != aligned + kRegionBytes) {
      ::munmap(reinterpret_cast<void*>(aligned + kRegionBytes), end - aligned - kRegionBytes);
    }
    g.region = reinterpret_cast<char*>(aligned);
    g.region_end = g.region + kRegionBytes;
    ::madvise(g.region, kRegionBytes, MADV_HUGEPAGE);  // A wish: refused is fine.
  }
  char* chunk = g.region;
  g.region += kChunkBytes;
  return chunk;
}

void send_home(SlabCache* owner, FreeBlock* head, FreeBlock* tail) noexcept {
  FreeBlock* old = owner->returned.load(std::memory_order_relaxed);
  do {
    tail->next = old;
    // release: pairs with the acquire in take_returned().
  } while (!owner->returned.compare_exchange_weak(old, head, std::memory_order_release,
                                                  std::memory_order_relaxed));
}

bool take_returned(SlabCache* cache) noexcept {
  if (cache->returned.load(std::memory_order_relaxed) == nullptr) return false;
  FreeBlock* block = cache->returned.exchange(nullptr, std::memory_order_acquire);
  while (block != nullptr) {
    FreeBlock* next = block->next;
    if (next != nullptr) __builtin_prefetch(next, 1);
    SlabClass& slot = cache->classes[chunk_of(block)->block_bytes / kSlabGranule - 1];
    block->next = slot.free;
    slot.free = block;
    block = next;
  }
  return true;
}

/// Hands the thread's cache on when the thread ends.
struct CacheGuard {
  bool armed = false;
  ~CacheGuard() {
    if (!armed || slab_cache == nullptr) return;
    slab_flush();
    SlabCache* cache = slab_cache;
    slab_cache = nullptr;
    SlabGlobals& g = globals();
    const std::lock_guard lock(g.mutex);
    cache->next_idle = g.idle;
    g.idle = cache;
  }
};
thread_local CacheGuard cache_guard;

SlabCache* adopt_cache() {
  {
    SlabGlobals& g = globals();
    const std::lock_guard lock(g.mutex);
    if (SlabCache* cache = g.idle; cache != nullptr) {
      g.idle = cache->next_idle;
      slab_cache = cache;
    }
  }
  if (slab_cache == nullptr) slab_cache = new SlabCache;
  cache_guard.armed = true;
  return slab_cache;
}

}  // namespace

void* slab_allocate_slow(std::size_t bytes) {
  SlabCache* cache = slab_cache != nullptr ? slab_cache : adopt_cache();
  const std::size_t index = (bytes - 1) / kSlabGranule;
  SlabClass& slot = cache->classes[index];
  if (slot.free == nullptr) take_returned(cache);
  if (FreeBlock* block = slot.free; block != nullptr) {
    slot.free = block->next;
    return block;
  }
  const std::size_t block_bytes = (index + 1) * kSlabGranule;
  if (static_cast<std::size_t>(slot.bump_end - slot.bump) < block_bytes) {
    char* chunk = new_chunk();
    ::new (chunk) ChunkHeader{cache, static_cast<std::uint32_t>(block_bytes)};
    slot.bump = chunk + kChunkHeaderBytes;
    slot.bump_end = chunk + kChunkBytes;
  }
  char* block = slot.bump;
  slot.bump += block_bytes;
  return block;
}

void slab_flush() noexcept {
  SlabCache* cache = slab_cache;
  if (cache == nullptr || cache->outgoing_count == 0) return;
  send_home(cache->outgoing_owner, cache->outgoing_head, cache->outgoing_tail);
  cache->outgoing_count = 0;
  cache->outgoing_owner = nullptr;
}

void slab_free_remote(void* block, ChunkHeader* chunk) noexcept {
  auto* free = static_cast<FreeBlock*>(block);
  SlabCache* cache = slab_cache;
  if (cache == nullptr) {  // A thread at its end, or one that never allocated.
    send_home(chunk->owner, free, free);
    return;
  }
  if (cache->outgoing_owner != chunk->owner) {
    slab_flush();
    cache->outgoing_owner = chunk->owner;
    cache->outgoing_tail = free;
    cache->outgoing_head = nullptr;
  }
  free->next = cache->outgoing_head;
  cache->outgoing_head = free;
  if (++cache->outgoing_count == kOutgoingMax) slab_flush();
}

}  // namespace ray::detail
