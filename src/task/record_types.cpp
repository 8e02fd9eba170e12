#include <ray/task/record_types.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace ray::detail {

namespace {

/// Constant-initialized, so that it is there before the first entry. A library that is loaded later
/// adds its own later.
constinit std::atomic<const RecordType*> first_type{nullptr};

/// FNV-1a, then mixed (Fowler, Noll, Vo).
std::uint64_t hash_text(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mix64(hash);
}

struct Table {
  std::unordered_map<std::uint64_t, std::vector<const RecordType*>> by_id;
  const RecordType* newest = nullptr;  // The entries from here on are in it.
  std::uint64_t digest = 0;
};

std::mutex table_mutex;

/// Requires: table_mutex.
Table& table() {
  static Table instance;
  const RecordType* newest = first_type.load(std::memory_order_acquire);
  for (const RecordType* type = newest; type != instance.newest; type = type->next) {
    auto& same = instance.by_id[type->id];
    const bool known = std::any_of(same.begin(), same.end(), [&](const RecordType* other) {
      return other->make == type->make;
    });
    if (known) continue;  // One type, seen from two libraries.
    same.push_back(type);
    instance.digest += mix64(type->id);  // The order of entries is the linker's.
  }
  instance.newest = newest;
  return instance;
}

}  // namespace

RecordType::RecordType(const std::type_info& type, std::string_view (*name_of)(),
                       Task* (*make_record)(InputArchive&, Needs&)) noexcept
    : mangled(type.name()),
      name(name_of),
      make(make_record),
      next(first_type.load(std::memory_order_relaxed)),
      id(hash_text(mangled)) {
  while (!first_type.compare_exchange_weak(next, this, std::memory_order_release,
                                           std::memory_order_relaxed)) {
  }
}

std::uint64_t hash_of_type(const std::type_info& type) { return hash_text(type.name()); }

const RecordType* find_record_type(std::uint64_t id) {
  const std::lock_guard lock(table_mutex);
  const auto& by_id = table().by_id;
  const auto found = by_id.find(id);
  return found == by_id.end() ? nullptr : found->second.front();
}

std::string_view record_type_name(std::uint64_t id) {
  const RecordType* type = find_record_type(id);
  return type != nullptr ? type->name() : "unknown";
}

std::string_view why_not_sent(const RecordType& type) {
  const std::lock_guard lock(table_mutex);
  if (table().by_id[type.id].size() < 2) return {};
  return "two files of the program have a function of this name, which only they can see (static, "
         "in an unnamed namespace, or a lambda in such a one): name one of them otherwise";
}

std::uint64_t record_types_digest() {
  const std::lock_guard lock(table_mutex);
  return mix64(table().digest + 1);
}

std::uint64_t record_types_count() {
  const std::lock_guard lock(table_mutex);
  return table().by_id.size();
}

}  // namespace ray::detail
