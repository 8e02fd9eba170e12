#include "runtime/shared_objects.hpp"

#include <array>
#include <mutex>
#include <vector>

#include "runtime/parts.hpp"
#include "task/id_map.hpp"

namespace ray::detail {

namespace {

struct Entry {
  Object* object;
  std::uint16_t engine;
};

struct alignas(kCacheLine) Shard {
  std::mutex mutex;
  IdMultimap<Entry> entries;  // Guarded by mutex.

  /// The first entry of that id that fits; null if none does. Requires: mutex.
  template <class Fits>
  const Entry* find(std::uint64_t id, Fits fits) const {
    const auto [begin, end] = entries.equal_range(id);
    for (auto at = begin; at != end; ++at) {
      if (fits(at->second)) return &at->second;
    }
    return nullptr;
  }
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

/// The entry of an object that is not ending, with a reference. Requires: its mutex.
const Entry* retain_in(const Shard& shard, std::uint16_t engine, std::uint64_t id) noexcept {
  return shard.find(id, [engine](const Entry& entry) {
    return entry.engine == engine && try_retain(entry.object);
  });
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
  const Entry* entry = retain_in(shard, engine, id);
  return entry == nullptr ? nullptr : entry->object;
}

std::pair<Object*, bool> find_or_enter_shared(std::uint16_t engine, std::uint64_t id,
                                              Object* (*make)(std::uint64_t id)) {
  Shard& shard = shard_of(id);
  const std::lock_guard lock(shard.mutex);
  if (const Entry* entry = retain_in(shard, engine, id)) return {entry->object, false};
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
  return shard.find(id, [&](const Entry& entry) {
    return entry.engine == engine && entry.object == object;
  }) != nullptr;
}

std::uint16_t shared_home(const Object* object) noexcept {
  const std::uint64_t id = object->task_id();
  Shard& shard = shard_of(id);
  const std::lock_guard lock(shard.mutex);
  const Entry* entry = shard.find(id, [&](const Entry& each) { return each.object == object; });
  return entry == nullptr ? std::uint16_t{0} : entry->engine;
}

void watch_shared_objects() noexcept { forget_shared.store(&forget, std::memory_order_release); }

}  // namespace ray::detail
