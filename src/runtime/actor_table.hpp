// The actors: what state each is in, its name, and the calls that wait for it, in the order of
// each caller. What happens to processes and results is the node's. A decider: no thread, lock or
// clock of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "task/id_map.hpp"
#include "task/messages.hpp"

namespace ray::detail {

struct ActorEntry {
  enum class State : std::uint8_t {
    pending,   // Its creation waits for arguments or a worker.
    starting,  // Its creation was sent to a worker.
    alive,
    dead,  // For good; `failure` says why.
  };
  std::uint64_t id = 0;
  State state = State::pending;
  ActorSpec spec;
  ClientId worker = 0;
  std::int32_t restarts = 0;         // So far.
  bool named = false;                // It has its name now.
  bool killed = false;               // By ray::kill; it starts again when its process has ended.
  bool staging = false;              // The first call's arguments are being brought into memory.
  std::uint32_t at_worker = 0;       // Calls sent and not done.
  std::vector<std::uint64_t> begun;  // Those of them that have begun, in order.
  std::uint64_t finished = 0;        // Calls that have ended, however.
  std::uint64_t checkpoint = 0;      // The object with its newest state; 0: there is none.
  std::uint32_t checkpoints = 0;     // So far.
  Bytes failure;

  bool may_restart() const { return spec.max_restarts < 0 || restarts < spec.max_restarts; }

private:
  friend class ActorTable;
  std::map<std::uint64_t, std::uint64_t> line;         // Calls that may be sent, by age.
  IdMap<std::map<std::uint64_t, std::uint64_t>> held;  // By caller, by age: behind one that
                                                       // waits for its arguments.
};

class ActorTable {
public:
  static constexpr std::uint32_t kWindow = 1000;  // Calls sent ahead to one actor.

  ActorEntry& add(std::uint64_t id, ActorSpec spec);
  ActorEntry* find(std::uint64_t id);
  void erase(std::uint64_t id);
  std::size_t size() const noexcept { return actors_.size(); }
  std::vector<std::uint64_t> ids() const;

  // --- names ---

  ActorEntry* find_name(const std::string& name);
  /// False if another one has it.
  bool take_name(ActorEntry& actor);
  void drop_name(ActorEntry& actor);

  // --- calls ---

  /// `ready`: it waits for no argument.
  void enter(ActorEntry& actor, std::uint64_t call, std::uint64_t caller, bool ready);
  /// Its arguments are there.
  void became_ready(std::uint64_t call);
  /// The call that may be sent next; it stays where it is.
  std::optional<std::uint64_t> first(const ActorEntry& actor) const;
  void sent(ActorEntry& actor, std::uint64_t call);
  /// Sent, and to be sent again: it stands where it stood before.
  void put_back(ActorEntry& actor, std::uint64_t call);
  void began(std::uint64_t call);
  /// It ends, wherever it is. True: others came into line by that.
  bool leave(std::uint64_t call);
  /// All that are not sent, in their order.
  std::vector<std::uint64_t> unsent(const ActorEntry& actor) const;
  /// The call that must have its arguments before this one can be sent; none if that is itself.
  std::optional<std::uint64_t> held_by(std::uint64_t call) const;
  std::size_t calls() const noexcept { return calls_.size(); }

private:
  enum class Where : std::uint8_t { held, line, sent };
  struct Call {
    std::uint64_t actor;
    std::uint64_t caller;
    std::uint64_t age;
    Where where;
    bool ready;
  };
  /// Those of the caller whose turn has come go into the line.
  void advance(ActorEntry& actor, std::uint64_t caller);

  IdMap<ActorEntry> actors_;
  IdMap<Call> calls_;
  std::unordered_map<std::string, std::uint64_t> names_;
  std::uint64_t age_ = 0;
};

}  // namespace ray::detail
