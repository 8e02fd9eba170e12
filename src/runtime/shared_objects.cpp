#include "runtime/shared_objects.hpp"

#include <array>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "runtime/parts.hpp"

namespace ray::detail {

namespace {

struct Entry {
  Object* object;
  std::uint16_t engine;
};

struct IdHash {
  std::size_t operator()(std::uint64_t id) const noexcept { return id; }  // Ids are mixed already.
};

struct alignas(kCacheLine) Shard {
  std::mutex mutex;
  std::unordered_multimap<std::uint64_t, Entry, IdHash> entries;  // Guarded by mutex.
};

/// Never destroyed: objects may end after main.
std::array<Shard, 64>& shards() {
  static auto* all = new std::array<Shard, 64>;
  return *all;
}
Shard& shard_of(std::uint64_t id) { return shards()[id >> 58]; }

/// False if the object is ending.
bool try_retain(Object* object) noexcept {
  std::uint32_t refs = object->refs.load(std::memory_order_relaxed);
  while (refs != 0) {
    if (object->refs.compare_exchange_weak(refs, refs + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void forget(Object* object) noexcept {
  const std::uint64_t id = object->task_id();
  std::vector<std::uint16_t> homes;
  {
    Shard& shard = shard_of(id);
    const std::lock_guard lock(shard.mutex);
    auto [at, end] = shard.entries.equal_range(id);
    while (at != end) {
      if (at->second.object != object) {
        ++at;
        continue;
      }
      homes.push_back(at->second.engine);
      at = shard.entries.erase(at);
    }
  }
  for (const std::uint16_t index : homes) {
    const EngineScope scope(index);
    Engine* engine = scope.engine();
    if (engine != nullptr && engine->parts().client != nullptr) {
      engine->parts().client->count_reference(id, -1);
    }
  }
}

}  // namespace

Object* find_shared(std::uint16_t engine, std::uint64_t id) noexcept {
  Shard& shard = shard_of(id);
  const std::lock_guard lock(shard.mutex);
  const auto [begin, end] = shard.entries.equal_range(id);
  for (auto at = begin; at != end; ++at) {
    if (at->second.engine == engine && try_retain(at->second.object)) return at->second.object;
  }
  return nullptr;
}

std::pair<Object*, bool> find_or_enter_shared(std::uint16_t engine, std::uint64_t id,
                                              Object* (*make)(std::uint64_t id)) {
  Shard& shard = shard_of(id);
  const std::lock_guard lock(shard.mutex);
  const auto [begin, end] = shard.entries.equal_range(id);
  for (auto at = begin; at != end; ++at) {
    if (at->second.engine == engine && try_retain(at->second.object)) {
      return {at->second.object, false};
    }
  }
  Object* made = make(id);
  shard.entries.emplace(id, Entry{made, engine});
  return {made, true};
}

void enter_shared(std::uint16_t engine, std::uint64_t id, Object* object) {
  Shard& shard = shard_of(id);
  const std::lock_guard lock(shard.mutex);
  shard.entries.emplace(id, Entry{object, engine});
}

bool is_shared(std::uint16_t engine, std::uint64_t id, const Object* object) noexcept {
  Shard& shard = shard_of(id);
  const std::lock_guard lock(shard.mutex);
  const auto [begin, end] = shard.entries.equal_range(id);
  for (auto at = begin; at != end; ++at) {
    if (at->second.engine == engine && at->second.object == object) return true;
  }
  return false;
}

std::uint16_t shared_home(const Object* object) noexcept {
  const std::uint64_t id = object->task_id();
  Shard& shard = shard_of(id);
  const std::lock_guard lock(shard.mutex);
  const auto [begin, end] = shard.entries.equal_range(id);
  for (auto at = begin; at != end; ++at) {
    if (at->second.object == object) return at->second.engine;
  }
  return 0;
}

void watch_shared_objects() noexcept { forget_shared.store(&forget, std::memory_order_release); }

}  // namespace ray::detail
