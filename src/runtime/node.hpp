// The one place on a machine that decides: who runs what, which objects there are, how long they
// stay and where. A plain value: it takes an event and the time and appends decisions to a list. It
// owns no thread, lock, clock, socket, file, memory map or random source (docs/processes.md), so
// the simulator drives this very code.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "task/messages.hpp"

namespace ray::detail {

/// Time since any fixed moment.
using NodeTime = std::chrono::nanoseconds;

struct NodeLimits {
  Demand total;                                           // What the node has; cpu: its slots.
  std::uint64_t store_bytes = 0;                          // Objects in memory.
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;  // Of an ordinary segment.
  std::uint64_t spill_bytes = UINT64_MAX;
  std::uint64_t inline_bytes = std::uint64_t{16} << 10;    // Measured: benchmarks/NOTES.md.
  std::uint64_t lineage_bytes = std::uint64_t{256} << 20;  // Of tasks that are kept for others.
  std::uint32_t workers_max = 0;    // Processes at once, those of actors included.
  std::uint32_t prestart = 0;       // Workers kept ready.
  std::uint32_t pipeline_max = 32;  // Tasks sent to one worker before it has begun them.
  NodeTime pipeline_time = std::chrono::microseconds(500);  // How long those may take, as measured.
  NodeTime idle_worker = std::chrono::seconds(1);  // Above the slots, so long idle: it ends.
  NodeTime start_timeout = std::chrono::seconds(60);
  NodeTime full_grace = std::chrono::seconds(10);  // A store that is full is waited for so long.
  std::string_view (*name_of)(std::uint64_t function) = nullptr;  // For people.
  std::uint32_t poison_kills = 3;  // After so many dead workers a task is not tried again.
  std::size_t task_events = 0;     // Tasks that are recorded.
};

/// What the host shall do.
namespace decision {
struct Send {
  ClientId to;
  Message message;
};
/// Start a process; it says Hello as this client.
struct StartWorker {
  ClientId client;
};
struct KillWorker {
  ClientId client;
  std::string why;
};
/// Make a segment that `writer` will write. Answered by Node::segment_made.
struct MakeSegment {
  std::uint32_t segment;
  std::uint64_t size;
  ClientId writer;
};
struct DropSegment {
  std::uint32_t segment;
};
/// Write the place to disk; answered by Node::spilled. It is not written to meanwhile.
struct Spill {
  std::uint64_t object;
  Place place;
};
/// Read it back into the place; answered by Node::restored.
struct Restore {
  std::uint64_t object;
  std::uint64_t handle;
  Place place;
};
struct DropSpill {
  std::uint64_t handle;
};
}  // namespace decision

using Decision =
    std::variant<decision::Send, decision::StartWorker, decision::KillWorker, decision::MakeSegment,
                 decision::DropSegment, decision::Spill, decision::Restore, decision::DropSpill>;
using Decisions = std::vector<Decision>;

class Node {
public:
  explicit Node(NodeLimits limits);
  ~Node();
  Node(Node&&) noexcept;
  Node& operator=(Node&&) noexcept;

  // --- events ---

  /// Faults of the client (an id it may not use, a place it does not own) are answered by
  /// KillWorker; the node itself never fails.
  void receive(ClientId from, Message message, NodeTime now, Decisions& decisions);
  /// `how`: what people are told, "was killed by SIGKILL". All it sent before was received.
  void worker_ended(ClientId client, const std::string& how, NodeTime now, Decisions& decisions);
  /// The process could not be started.
  void worker_failed(ClientId client, const std::string& why, NodeTime now, Decisions& decisions);
  /// `why`: only if it could not be made.
  void segment_made(std::uint32_t segment, bool made, NodeTime now, Decisions& decisions,
                    const std::string& why = {});
  /// `handle`: what to restore it by; none if it could not be written, and only then a `why`.
  void spilled(std::uint64_t object, std::optional<std::uint64_t> handle, NodeTime now,
               Decisions& decisions, const std::string& why = {});
  void restored(std::uint64_t object, bool intact, NodeTime now, Decisions& decisions);
  /// The machine's memory is short: one worker should go. False if none can.
  bool relieve_memory(NodeTime now, Decisions& decisions);
  /// Time has passed; at least at each deadline().
  void tick(NodeTime now, Decisions& decisions);
  /// Nothing more starts; all that is pending fails with `failure`.
  void shut_down(NodeTime now, Decisions& decisions);

  // --- questions ---

  std::optional<NodeTime> deadline() const;

  struct WorkerState {
    ClientId client = 0;
    std::int64_t pid = 0;
    enum class Phase : std::uint8_t { starting, idle, running, blocked, ending } phase;
    std::uint64_t task = 0;   // What it runs.
    std::uint64_t actor = 0;  // Whose process it is.
  };
  std::vector<WorkerState> workers() const;
  Demand available() const;

  /// What must be back at its baseline once nothing is referenced (oracles O4, O5).
  struct Counts {
    std::size_t tasks = 0;    // Known, not ended.
    std::size_t objects = 0;  // Known.
    std::size_t actors = 0;
    std::size_t workers = 0;
    std::size_t references = 0;
    std::uint64_t stored_bytes = 0;
    std::uint64_t spilled_bytes = 0;
    std::uint64_t commits_dropped = 0;  // Results that came second.
  };
  Counts counts() const;

private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ray::detail
