// Memory for objects and tasks: size classes cut from 64 KiB chunks, each owned by one thread's
// cache. A thread allocates and frees its own blocks without atomics; blocks freed elsewhere go
// home in batches (performance.md: a cross-thread free costs 200 ns, a batched one a few).
// Caches outlive their threads and are adopted by new ones, so references may outlive everything.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

#include <ray/config.hpp>

namespace ray::detail {

inline constexpr std::size_t kSlabGranule = 16;
inline constexpr std::size_t kSlabMaxBytes = 512;
inline constexpr std::size_t kSlabClasses = kSlabMaxBytes / kSlabGranule;
inline constexpr std::size_t kChunkBytes = std::size_t{64} << 10;

struct FreeBlock {
  FreeBlock* next;
};

struct SlabClass {
  FreeBlock* free = nullptr;
  char* bump = nullptr;
  char* bump_end = nullptr;
};

/// One thread's share of the slab. Owns: its chunks, for ever. Threads: everything but
/// `returned` belongs to the thread that holds the cache.
struct SlabCache {
  SlabClass classes[kSlabClasses];
  // Blocks of other caches freed here, collected for one owner at a time.
  SlabCache* outgoing_owner = nullptr;
  FreeBlock* outgoing_head = nullptr;
  FreeBlock* outgoing_tail = nullptr;
  std::uint32_t outgoing_count = 0;
  SlabCache* next_idle = nullptr;
  /// Own blocks freed by other threads: pushed by them (release), taken whole here (acquire).
  alignas(kCacheLine) std::atomic<FreeBlock*> returned{nullptr};
};

struct ChunkHeader {
  SlabCache* owner;
  std::uint32_t block_bytes;
};

/// Null until the thread's first allocation and after the thread's end.
extern constinit thread_local SlabCache* slab_cache;

void* slab_allocate_slow(std::size_t bytes);
void slab_free_remote(void* block, ChunkHeader* chunk) noexcept;
/// Sends home what this thread still holds for others; called before a thread sleeps.
void slab_flush() noexcept;

inline ChunkHeader* chunk_of(void* block) noexcept {
  return reinterpret_cast<ChunkHeader*>(reinterpret_cast<std::uintptr_t>(block) &
                                        ~(kChunkBytes - 1));
}

/// Requires: the alignment needed is at most 16.
inline void* slab_allocate(std::size_t bytes) {
#if !defined(RAY_ASAN)
  if (bytes <= kSlabMaxBytes) {
    if (SlabCache* cache = slab_cache; cache != nullptr) {
      SlabClass& slot = cache->classes[(bytes - 1) / kSlabGranule];
      if (FreeBlock* block = slot.free; block != nullptr) {
        slot.free = block->next;
        return block;
      }
    }
    return slab_allocate_slow(bytes);
  }
#endif
  return ::operator new(bytes);
}

/// Requires: `bytes` is what the block was allocated with.
inline void slab_free(void* block, [[maybe_unused]] std::size_t bytes) noexcept {
#if !defined(RAY_ASAN)
  if (bytes <= kSlabMaxBytes) {
    ChunkHeader* chunk = chunk_of(block);
    SlabCache* cache = slab_cache;
    if (cache != nullptr && chunk->owner == cache) {
      SlabClass& slot = cache->classes[(bytes - 1) / kSlabGranule];
      auto* free = static_cast<FreeBlock*>(block);
      free->next = slot.free;
      slot.free = free;
      return;
    }
    slab_free_remote(block, chunk);
    return;
  }
#endif
  ::operator delete(block);
}

}  // namespace ray::detail
