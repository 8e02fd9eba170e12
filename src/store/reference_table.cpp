#include "store/reference_table.hpp"

#include <algorithm>

namespace ray::detail {

void ReferenceLedger::hold(std::uint64_t id) {
  ++counts_[id];
  ++size_;
}

ReferenceLedger::Left ReferenceLedger::release(std::uint64_t id) {
  const auto found = counts_.find(id);
  if (found == counts_.end()) return Left::never_had;
  --size_;
  if (--found->second != 0) return Left::some;
  counts_.erase(found);
  return Left::none;
}

void ReferenceLedger::take(ClientId client, std::uint64_t id, std::uint32_t count) {
  clients_[client][id] += count;
  counts_[id] += count;
  size_ += count;
}

ReferenceLedger::Left ReferenceLedger::give_back(ClientId client, std::uint64_t id,
                                                 std::uint32_t count) {
  const auto held = clients_.find(client);
  if (held == clients_.end()) return Left::never_had;
  const auto own = held->second.find(id);
  if (own == held->second.end() || own->second < count) return Left::never_had;
  own->second -= count;
  if (own->second == 0) held->second.erase(own);
  const auto all = counts_.find(id);
  all->second -= count;
  size_ -= count;
  if (all->second != 0) return Left::some;
  counts_.erase(all);
  return Left::none;
}

std::vector<std::uint64_t> ReferenceLedger::bequeath(ClientId client) {
  std::vector<std::uint64_t> ids;
  const auto held = clients_.find(client);
  if (held == clients_.end()) return ids;
  ids.reserve(held->second.size());
  for (const auto& [id, count] : held->second) {
    counts_[id] -= count - 1;
    size_ -= count - 1;
    ids.push_back(id);
  }
  clients_.erase(held);
  // The order of a hash table is nobody's business.
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::uint64_t ReferenceLedger::count(std::uint64_t id) const {
  const auto found = counts_.find(id);
  return found == counts_.end() ? 0 : found->second;
}

std::uint32_t ReferenceLedger::count_of(ClientId client, std::uint64_t id) const {
  const auto held = clients_.find(client);
  if (held == clients_.end()) return 0;
  const auto own = held->second.find(id);
  return own == held->second.end() ? 0 : own->second;
}

std::vector<ClientId> ReferenceLedger::clients_of(std::uint64_t id) const {
  std::vector<ClientId> clients;
  for (const auto& [client, ids] : clients_) {
    if (ids.contains(id)) clients.push_back(client);
  }
  std::sort(clients.begin(), clients.end());
  return clients;
}

}  // namespace ray::detail
