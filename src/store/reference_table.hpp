// Who counts what. An id (of an object or an actor) is held by clients, whose counts are kept
// apart so that a client that dies can be taken off, and by tasks, objects and actors, which know
// themselves what they hold. A decider: no thread, lock or clock of its own.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "task/id_map.hpp"
#include "task/messages.hpp"

namespace ray::detail {

class ReferenceLedger {
public:
  /// What is left after one was given back.
  enum class Left : std::uint8_t { some, none, never_had };

  /// A task, an object or an actor holds one more.
  void hold(std::uint64_t id);
  /// And one less. Requires that it was held.
  Left release(std::uint64_t id);

  void take(ClientId client, std::uint64_t id, std::uint32_t count = 1);
  /// `never_had`: the client gives back more than it has; then nothing changes.
  Left give_back(ClientId client, std::uint64_t id, std::uint32_t count = 1);
  /// The client is gone: what it held, each once. The references become the caller's, one for each
  /// id, to be released.
  std::vector<std::uint64_t> bequeath(ClientId client);

  std::uint64_t count(std::uint64_t id) const;
  std::uint32_t count_of(ClientId client, std::uint64_t id) const;
  std::vector<ClientId> clients_of(std::uint64_t id) const;
  /// All references of all holders.
  std::uint64_t size() const noexcept { return size_; }

private:
  struct Counts {
    std::uint64_t all = 0;
    std::uint32_t driver = 0;  // It holds most: its own count stands with the sum.
  };
  /// Null if it has none, or not so many.
  std::uint32_t* held_by(ClientId client, Counts& counts, std::uint64_t id, std::uint32_t count);

  IdMap<Counts> counts_;
  std::unordered_map<ClientId, IdMap<std::uint32_t>> clients_;  // But the driver.
  std::uint64_t size_ = 0;
};

}  // namespace ray::detail
