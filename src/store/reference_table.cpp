#include "store/reference_table.hpp"

#include <algorithm>

namespace ray::detail {

void ReferenceLedger::hold(std::uint64_t id) {
  ++counts_[id].all;
  ++size_;
}

ReferenceLedger::Left ReferenceLedger::release(std::uint64_t id) {
  const auto found = counts_.find(id);
  if (found == counts_.end()) return Left::never_had;
  --size_;
  if (--found->second.all != 0) return Left::some;
  counts_.erase(found);
  return Left::none;
}

void ReferenceLedger::take(ClientId client, std::uint64_t id, std::uint32_t count) {
  Counts& counts = counts_[id];
  (client == kDriverClient ? counts.driver : clients_[client][id]) += count;
  counts.all += count;
  size_ += count;
}

std::uint32_t* ReferenceLedger::held_by(ClientId client, Counts& counts, std::uint64_t id,
                                        std::uint32_t count) {
  std::uint32_t* own = &counts.driver;
  if (client != kDriverClient) {
    const auto held = clients_.find(client);
    if (held == clients_.end()) return nullptr;
    const auto found = held->second.find(id);
    if (found == held->second.end()) return nullptr;
    own = &found->second;
  }
  return *own < count ? nullptr : own;
}

ReferenceLedger::Left ReferenceLedger::give_back(ClientId client, std::uint64_t id,
                                                 std::uint32_t count) {
  const auto found = counts_.find(id);
  if (found == counts_.end()) return Left::never_had;
  std::uint32_t* own = held_by(client, found->second, id, count);
  if (own == nullptr) return Left::never_had;
  *own -= count;
  if (*own == 0 && client != kDriverClient) clients_[client].erase(id);
  found->second.all -= count;
  size_ -= count;
  if (found->second.all != 0) return Left::some;
  counts_.erase(found);
  return Left::none;
}

std::vector<std::uint64_t> ReferenceLedger::bequeath(ClientId client) {
  std::vector<std::uint64_t> ids;
  const auto bequeath_one = [&](std::uint64_t id, Counts& counts, std::uint32_t& count) {
    counts.all -= count - 1;
    size_ -= count - 1;
    count = 0;
    ids.push_back(id);
  };
  if (client == kDriverClient) {
    for (auto& [id, counts] : counts_) {
      if (counts.driver != 0) bequeath_one(id, counts, counts.driver);
    }
  } else if (const auto held = clients_.find(client); held != clients_.end()) {
    ids.reserve(held->second.size());
    for (auto& [id, count] : held->second) bequeath_one(id, counts_[id], count);
    clients_.erase(held);
  }
  // The order of a hash table is nobody's business.
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::uint64_t ReferenceLedger::count(std::uint64_t id) const {
  const auto found = counts_.find(id);
  return found == counts_.end() ? 0 : found->second.all;
}

std::uint32_t ReferenceLedger::count_of(ClientId client, std::uint64_t id) const {
  if (client == kDriverClient) {
    const auto found = counts_.find(id);
    return found == counts_.end() ? 0 : found->second.driver;
  }
  const auto held = clients_.find(client);
  if (held == clients_.end()) return 0;
  const auto own = held->second.find(id);
  return own == held->second.end() ? 0 : own->second;
}

std::vector<ClientId> ReferenceLedger::clients_of(std::uint64_t id) const {
  std::vector<ClientId> clients;
  if (count_of(kDriverClient, id) != 0) clients.push_back(kDriverClient);
  for (const auto& [client, ids] : clients_) {
    if (ids.contains(id)) clients.push_back(client);
  }
  std::sort(clients.begin(), clients.end());
  return clients;
}

}  // namespace ray::detail
