// What a node knows, and what it does with it. The deciders know nothing of one another; this puts
// them together. One event at a time: what follows from it is queued and done before it ends, so
// nothing recurses, however long a chain is.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ray/error.hpp>

#include "runtime/actor_table.hpp"
#include "runtime/node.hpp"
#include "runtime/task_log.hpp"
#include "scheduler/leases.hpp"
#include "scheduler/task_queue.hpp"
#include "store/reference_table.hpp"
#include "store/store_index.hpp"
#include "task/id_map.hpp"

namespace ray::detail {

/// What a worker that died held, kept for its tasks that are tried again: they ask for the same.
struct Bequest {
  std::vector<std::uint64_t> ids;
  std::vector<std::shared_ptr<Bequest>> before;  // What its heirs had from workers before.
};

/// What a kept task needs to run again: its arguments where they are small, and else the tasks that
/// can make them anew. Those may be gone for their memory: `born` tells one from its successor.
struct Lineage {
  struct Made {
    std::uint64_t object;
    std::uint64_t maker;
    std::uint64_t born;
  };
  std::vector<std::uint64_t> held;
  std::vector<Made> made;
};

/// What a blocked task waits for.
struct AwaitedSet {
  std::vector<std::uint64_t> objects;
  std::uint32_t count = 0;
  bool may_nest = false;
  bool told = false;        // That it waits in a circle.
  std::uint64_t order = 0;  // A later one blocked later.
};

struct StreamState {
  ClientId reader = 0;
  std::uint32_t given = 0;  // Items that the reader was sent.
  std::uint32_t consumed = 0;
};

struct TaskEntry {
  enum class State : std::uint8_t {
    waiting,  // For objects; a call: for its turn.
    staging,  // For objects that are on disk.
    ready,
    sent,
    running,
    kept,  // It ended, and may have to run again: a stored result got lost, an actor restarts.
  };
  Shared<TaskSpec> spec;
  State state = State::waiting;
  bool decided = false;    // Its results are sealed while a worker still has it.
  bool abandoned = false;  // Decided because nobody wants it.
  bool forced = false;     // Cancelled with force, before it was known to have begun.
  bool revived = false;    // Abandoned, but submitted again: it runs once more.
  bool holds_actor = false;
  bool nested = false;    // Sent to run on top of a blocked one.
  bool staged = false;    // What it needs is in memory and pinned for it.
  bool bringing = false;  // Its bringing was started, and has not ended.
  bool reserved = false;  // It holds what its demand asks for besides CPUs.
  std::int32_t attempt = 0;
  std::uint32_t deaths = 0;        // Of workers that ran it.
  std::uint32_t live_results = 0;  // Objects of its results that are known.
  ClientId worker = 0;             // Where it was sent; 0: nowhere.
  ClientId nest_at = 0;            // A blocked worker that waits for it; 0: none.
  std::uint64_t begun_order = 0;
  std::unique_ptr<AwaitedSet> awaits;
  bool suspended = false;     // Its coroutine waits, for
  std::uint64_t awaited = 0;  // this (message::Suspended).
  std::uint64_t asleep = 0;   // While it does: as AwaitedSet::order. 0: it does not.
  std::unique_ptr<StreamState> stream;
  std::shared_ptr<Bequest> bequest;
  std::unique_ptr<Lineage> lineage;  // While it is kept.
  std::uint32_t heirs = 0;           // Kept tasks that would need its results again.
  std::uint64_t born = 0;
  std::uint64_t alone_since = 0;  // Kept for its heirs only; 0: it is not.
  TaskEntry* parent = nullptr;    // Tasks that were submitted by a task that has not ended.
  TaskEntry* first_child = nullptr;
  TaskEntry* next = nullptr;
  TaskEntry* previous = nullptr;

  bool at_worker() const { return state == State::sent || state == State::running; }
};

struct ObjectEntry {
  enum class State : std::uint8_t { pending, inlined, stored, failed };
  State state = State::pending;
  std::uint64_t producer = 0;  // The task that makes it; 0: none.
  std::uint64_t size = 0;      // Of a stored one.
  Bytes bytes;                 // The value, or the failure.
  std::vector<std::uint64_t> contains;
  std::vector<ClientId> watchers;  // To be told when it is sealed.
  std::vector<ClientId> fetchers;  // Who asked for it before that.
};

struct Node::State {
  explicit State(NodeLimits given);

  using Left = ReferenceLedger::Left;
  using TaskState = TaskEntry::State;
  using ObjectState = ObjectEntry::State;

  NodeLimits limits;
  Leases leases;
  TaskQueue queue;
  ReferenceLedger references;
  StoreIndex store;
  ActorTable actors;
  IdMap<TaskEntry> tasks;
  IdMap<ObjectEntry> objects;
  TaskLog log;

  NodeTime now{0};
  NodeTime started{0};  // When the driver said Hello.
  Decisions* out = nullptr;
  StoreActions store_actions;
  std::string disk_fault;    // Why the last object was not written to disk; else empty.
  std::string memory_fault;  // Why the last segment was not made; else empty.
  std::vector<std::uint64_t> unreferenced;              // Ids whose last reference may be gone.
  std::deque<std::pair<std::uint64_t, Bytes>> failing;  // Tasks, and why.
  std::vector<std::uint64_t> actors_to_send;
  std::deque<std::uint64_t> to_nest;   // Ready tasks for which a blocked worker waits.
  std::deque<std::uint64_t> to_stage;  // Tasks whose objects are to be brought into memory.
  std::size_t staging = 0;
  std::size_t kept = 0;
  std::map<std::uint64_t, std::uint64_t> alone;  // Tasks that are kept for others only, by age.
  std::uint64_t lineage_bytes = 0;               // Of those, about.
  std::size_t living_actors = 0;
  std::uint64_t commits_dropped = 0;
  std::uint64_t order = 0;
  std::uint64_t bringing = 0;
  bool dispatch_needed = true;

  struct Fetching {
    ClientId client;
    std::uint64_t object;
  };
  IdMap<Fetching> fetchings;                   // By bringing.
  std::map<std::uint64_t, ClientId> promises;  // Objects that were put, and who sends their values.
  /// Workers that do nothing until an object that got lost is made again.
  std::set<std::pair<ClientId, std::uint64_t>> waiting_fetches;
  std::unordered_set<ClientId> faulty;           // Not listened to any more.
  std::unordered_set<ClientId> for_memory;       // Killed because memory was short.
  std::unordered_set<ClientId> for_cancel;       // Killed with the task that was cancelled.
  std::unordered_map<ClientId, Demand> leaving;  // Processes of dropped actors, and what they hold.
  /// Blocked tasks and coroutines that wait, the newest last.
  std::map<std::uint64_t, std::uint64_t> blocked;
  std::unordered_map<ClientId, std::set<std::uint64_t>> streams;  // By reader.
  std::optional<message::Hello> driver;
  Bytes broken;                      // Why no worker can be used; empty if one can.
  std::uint32_t start_failures = 0;  // In a row.
  NodeTime start_again{0};           // Until then the workers that there are must do.
  bool shut = false;
  /// Since when all that is at work is blocked while tasks are ready, and the newest of it.
  std::optional<NodeTime> stuck_since;
  std::uint64_t stuck_newest = 0;
  static constexpr NodeTime kStuckFor = std::chrono::milliseconds(250);
  std::optional<NodeTime> kill_at;  // Whoever is there then has not ended in order.

  // --- node.cpp: events ---
  void begin(NodeTime time, Decisions& decisions);
  void finish();
  void receive(ClientId from, Message& message);
  void handle(ClientId from, message::Hello& hello);
  void handle(ClientId from, message::Submit& submit);
  void handle(ClientId from, message::Put& put);
  void handle(ClientId from, message::Reserve& reserve);
  void handle(ClientId from, message::Unreserve& unreserve);
  void handle(ClientId from, message::References& references);
  void handle(ClientId from, message::Want& want);
  void handle(ClientId from, message::Fetch& fetch);
  void handle(ClientId from, message::Unpin& unpin);
  void handle(ClientId from, message::Blocked& blocked);
  void handle(ClientId from, message::Unblocked& unblocked);
  void handle(ClientId from, message::Began& began);
  void handle(ClientId from, message::Suspended& suspended);
  void handle(ClientId from, message::GiveBack& given);
  void handle(ClientId from, message::Done& done);
  void handle(ClientId from, message::Yielded& yielded);
  void handle(ClientId from, message::Consumed& consumed);
  void handle(ClientId from, message::Cancel& cancel);
  void handle(ClientId from, message::KillActor& kill);
  void handle(ClientId from, message::FindActor& find);
  void handle(ClientId from, message::Ask& ask);
  void handle(ClientId from, message::SegmentMapped& mapped);
  /// Messages that only a node sends.
  template <class Other>
  void handle(ClientId from, Other&) {
    fault(from, "it sent what only a node may send");
  }
  // node_report.cpp
  std::vector<WorkerState> worker_states();
  std::vector<WorkerInfo> worker_infos();
  std::vector<ActorInfo> actor_infos();
  NodeInfo node_info();
  void send(ClientId to, Message message);
  /// The client does what it must not: it is not listened to any more.
  void fault(ClientId client, const std::string& why);
  void kill(ClientId client, const std::string& why);
  bool is_client(ClientId client) const;
  TaskEntry* find_task(std::uint64_t id);
  ObjectEntry* find_object(std::uint64_t id);
  ResourceLedger& ledger() { return queue.ledger(); }

  // --- node_objects.cpp ---
  /// Checks a value that a client sends; a fault if it may not.
  bool accept(ClientId from, const WireValue& value);
  /// Its place goes, nobody has a use for it.
  void discard(ClientId from, const WireValue& value);
  /// Requires accept(). The value stays away if the object is unknown or sealed already.
  void seal(ClientId from, std::uint64_t id, WireValue&& value);
  void seal_failure(std::uint64_t id, const Bytes& failure);
  void sealed(std::uint64_t id, ObjectEntry& object);
  /// What a client is told of a sealed object.
  static WireValue shown(const ObjectEntry& object);
  void tell(ClientId client, std::uint64_t id, const ObjectEntry& object);
  void watch(ClientId client, std::uint64_t id, ObjectEntry& object);
  void fetch(ClientId client, std::uint64_t id, ObjectEntry& object);
  void fetch_goes_on(ClientId client, std::uint64_t id);
  /// An id that nobody knows was freed: it stands for a lost object.
  void make_known(std::uint64_t id);
  void hold(std::uint64_t id);
  void release(std::uint64_t id);
  void take(ClientId client, std::uint64_t id);
  void free_unreferenced();
  void free_object(std::uint64_t id);
  void do_store_actions();
  void lost(std::uint64_t id);
  Bytes no_room(std::uint64_t size, NoRoom why) const;

  // --- node_tasks.cpp ---
  void submit_again(ClientId from, TaskEntry& entry);
  void submit_known_results(ClientId from, const TaskSpec& spec);
  void make_results(ClientId from, TaskEntry& entry);
  std::uint32_t result_count(const TaskSpec& spec) const;
  void refuse_other_function(ClientId from, TaskEntry& entry, const TaskSpec& spec);
  /// Waits for what it needs, or goes on. `first`: before those that are ready.
  void start_waiting(TaskEntry& entry, bool first = false);
  enum class Needs : std::uint8_t { there, on_disk, pending, failed };
  /// `pending`: it waits for them now; `failed`: it will be failed.
  Needs look_at_needs(TaskEntry& entry);
  void became_ready(TaskEntry& entry, bool first = false);
  /// Its worker has it no more; it is to run again.
  void requeue(TaskEntry& entry, bool first);
  bool may_try_again(const TaskEntry& entry) const;
  void fail_task(TaskEntry& entry, const Bytes& failure);
  void log_failure(std::uint64_t task, const Bytes& failure);
  void commit(ClientId from, TaskEntry& entry, message::Done& done);
  /// The worker that had it has it no more, and its results are decided.
  void answered(TaskEntry& entry);
  void end_task(TaskEntry& entry);
  bool may_be_kept(const TaskEntry& entry);
  void abandon(TaskEntry& entry);
  void unlink(TaskEntry& entry);
  void drop_bequest(TaskEntry& entry);
  void give_up_reserved(TaskEntry& entry);

  // --- node_lineage.cpp ---
  void keep(TaskEntry& entry);
  void kept_alone(TaskEntry& entry);
  void not_alone(TaskEntry& entry);
  void forget_kept(std::uint64_t task);
  bool run_for_lost(std::uint64_t task, bool anew = false);
  bool add_lost_needs(const TaskEntry& entry, std::vector<std::uint64_t>& tasks_to_run);

  // --- node_dispatch.cpp ---
  void dispatch();
  void send_ahead();
  void start_workers();
  void recall_for_idle();
  bool start_worker();
  bool has_stored(const TaskEntry& entry);
  void stage(TaskEntry& entry);
  void stage_next();
  void brought(std::uint64_t bringing);
  void not_brought(const store_action::NotBrought& action);
  void unstage(TaskEntry& entry);
  void send_run(TaskEntry& entry, ClientId client, bool nested);
  void unpin_run(TaskEntry& entry);
  bool try_nest(TaskEntry& entry);
  void nest_awaited(TaskEntry& waits, ClientId client);
  void nest_more();

  // --- node_workers.cpp ---
  void worker_ended(ClientId client, const std::string& how);
  void worker_failed(ClientId client, const std::string& why);
  void start_failed(const std::string& why);
  bool others_work() const;
  std::vector<TaskEntry*> tried_again(const std::vector<TaskEntry*>& begun,
                                      const PoolWorker& worker);
  bool outlives(const TaskEntry& entry, const PoolWorker& worker);
  void task_lost_worker(TaskEntry& entry, const std::string& how, const PoolWorker& worker);
  void inherit(ClientId client, const std::vector<TaskEntry*>& heirs);
  void unblock(TaskEntry& entry);
  void recall(ClientId client);
  bool relieve_memory();
  void tick();
  std::optional<ClientId> spare_worker() const;
  std::optional<NodeTime> deadline() const;

  // --- node_circles.cpp ---
  void look_for_circle(TaskEntry& start);
  void look_for_stuck();
  bool lacks_what_is_blocked();
  bool all_wait() const;
  bool still_waits(const TaskEntry& entry, bool for_long);
  bool sleeps_on(const TaskEntry& entry, bool for_long);
  bool is_to_come(std::uint64_t object, bool for_long);
  bool what_it_waits_for(const TaskEntry& entry, std::vector<TaskEntry*>& tasks_found);
  struct InLine;
  InLine line_of(const ActorEntry& actor, std::uint32_t group);
  void look_at_lines(const ActorEntry& actor);

  // --- node_actors.cpp ---
  ActorEntry* add_actor(ClientId from, const TaskEntry& entry);
  void submit_creation(ClientId from, TaskEntry& entry);
  void submit_call(TaskEntry& entry);
  void tell_of_actor(ClientId client, std::uint64_t request, ActorEntry* actor);
  void send_calls(ActorEntry& actor);
  void created(ClientId from, TaskEntry& creation, message::Done& done);
  void actor_lost_worker(const PoolWorker& worker, const std::string& how,
                         const std::vector<TaskEntry*>& begun,
                         const std::vector<TaskEntry*>& waiting);
  void restart(ActorEntry& actor);
  void actor_died(ActorEntry& actor, const Bytes& failure);
  void end_creation(ActorEntry& actor);
  void leave_process(ActorEntry& actor, TaskEntry& creation);
  void unreferenced_actor(ActorEntry& actor);
  void save_checkpoint(ClientId from, const TaskEntry& call, Boxed<WireValue>& given);
  void drop_checkpoint(ActorEntry& actor);

  // --- node_streams.cpp ---
  void end_stream(ClientId from, TaskEntry& entry, WireValue&& end);
  WireValue cancelled_value(const TaskEntry& entry) const;
  void forget_stream(TaskEntry& entry);

  // --- node_cancel.cpp ---
  void cancel(TaskEntry& entry, bool force, bool itself);
  void end_by_force(const TaskEntry& entry);
  void shut_down();

  // --- failures, in node_failures.cpp ---
  static Bytes failure(ErrorCode code, const std::string& text, std::string_view task = {});
  std::string name_of(const TaskSpec& spec) const;
  std::string name_of(const TaskEntry& entry) const { return name_of(*entry.spec); }
  std::string task_words(const TaskEntry& entry) const;
  static std::string actor_words(const ActorEntry& actor);
  /// Why a task fails one of whose objects has failed.
  Bytes failed_need(const TaskEntry& entry, const Bytes& failure) const;
  static std::string described(const Bytes& failure);
};

}  // namespace ray::detail
