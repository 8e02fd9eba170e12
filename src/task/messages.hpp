// What a node and its clients say to one another; as bytes in docs/wire.md. A client is a process
// that submits: number 0 is the driver, the others are workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ray/ids.hpp>

#include "task/demand.hpp"
#include "task/slab_allocator.hpp"

namespace ray::detail {

using Bytes = std::vector<std::byte>;
using ClientId = std::uint32_t;
inline constexpr ClientId kDriverClient = 0;

/// Where an object lies in the node's store.
struct Place {
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

/// A value on its way, or the reason why there is none.
struct WireValue {
  enum class Kind : std::uint8_t {
    inline_bytes,  // `bytes`: what an OutputArchive wrote.
    stored,        // In the store at `place`, laid out as docs/wire.md says.
    absent,        // In the store; whoever needs it fetches it. `place.size` says how large it is.
    failure,       // `bytes`: see task/failure_codec.hpp.
  };
  Kind kind = Kind::inline_bytes;
  Bytes bytes;
  Place place;
  std::vector<std::uint64_t> contains;  // Objects and actors that the value refers to, each once.
  friend bool operator==(const WireValue&, const WireValue&) = default;
};
/// Of what failed, and with what: see task/failure_codec.hpp.
inline WireValue failed_value(Bytes failure) {
  WireValue value;
  value.kind = WireValue::Kind::failure;
  value.bytes = std::move(failure);
  return value;
}

enum class TaskKind : std::uint8_t { task, actor_creation, actor_call };

/// Several results: the i-th object of task t is child_id(~t, i). One result: t itself.
inline constexpr std::uint32_t kOneResult = 0;
inline constexpr std::uint32_t kStreamResults = 0xffff'ffff;
constexpr std::uint64_t result_id(std::uint64_t task, std::uint32_t results, std::uint32_t i) {
  return results == kOneResult ? task : child_id(~task, i);
}
/// The object that holds a task's arguments where they are large.
constexpr std::uint64_t arguments_id(std::uint64_t task) { return child_id(~task, 0xffff'fffeULL); }

/// The object that holds an actor's `number`-th checkpoint.
constexpr std::uint64_t checkpoint_id(std::uint64_t actor, std::uint32_t number) {
  return child_id(~actor, std::uint64_t{1} << 32 | number);
}

/// How an actor is to be kept; only with TaskKind::actor_creation.
struct ActorSpec {
  std::uint64_t class_id = 0;  // Of its class in the function table.
  std::string class_name;
  std::string name;
  bool get_if_exists = false;
  bool detached = false;
  std::int32_t max_restarts = 0;      // -1: for ever.
  std::int32_t max_task_retries = 0;  // -1: for ever.
  std::int32_t max_concurrency = 0;
  std::map<std::string, std::int32_t> concurrency_groups;
  std::int32_t max_pending_calls = -1;
  std::int32_t checkpoint_every = 0;  // Its state is saved after so many calls; 0: never.
  friend bool operator==(const ActorSpec&, const ActorSpec&) = default;
};

/// What few have: an optional that takes one word where there is nothing.
template <class T>
class Boxed {
public:
  Boxed() = default;
  Boxed(T value) : value_(std::make_unique<T>(std::move(value))) {}  // NOLINT: implicit
  Boxed(const Boxed& other) : value_(other ? std::make_unique<T>(*other) : nullptr) {}
  Boxed(Boxed&&) noexcept = default;
  Boxed& operator=(Boxed other) noexcept {
    value_ = std::move(other.value_);
    return *this;
  }
  ~Boxed() = default;

  void emplace() { value_ = std::make_unique<T>(); }
  bool has_value() const noexcept { return value_ != nullptr; }
  explicit operator bool() const noexcept { return has_value(); }
  T& operator*() noexcept { return *value_; }
  const T& operator*() const noexcept { return *value_; }
  T* operator->() noexcept { return value_.get(); }
  const T* operator->() const noexcept { return value_.get(); }
  T value_or(T other) const { return has_value() ? *value_ : std::move(other); }
  friend bool operator==(const Boxed& left, const Boxed& right) {
    return left.has_value() == right.has_value() && (!left || *left == *right);
  }

private:
  std::unique_ptr<T> value_;
};

/// A task: everything that is needed to run it, anywhere, as often as it takes.
struct TaskSpec {
  std::uint64_t parent = 0;  // Who submitted it; for calls also whose order counts.
  std::uint32_t index = 0;
  std::uint64_t function = 0;  // In the function table.
  TaskKind kind = TaskKind::task;
  std::uint64_t actor = 0;  // actor_call: whose. The actor's id is its creation's task id.
  std::uint32_t group = 0;  // actor_call: concurrency group.
  std::uint32_t results = kOneResult;
  Demand demand;                 // cpu = 0: takes no slot.
  std::int32_t max_retries = 0;  // After a crash of its worker; -1: for ever.
  bool retry_exceptions = false;
  std::int32_t backpressure = 0;  // Streams: items that may be unread.
  std::string name;               // For people; empty: the function's.
  std::string site;               // file:line; empty unless tasks are traced.
  WireValue arguments;
  std::vector<std::uint64_t> needs;  // Objects that must be there before it runs, in order.
  Boxed<ActorSpec> creates;

  std::uint64_t id() const noexcept { return child_id(parent, index); }
  friend bool operator==(const TaskSpec&, const TaskSpec&) = default;
};

/// A value that all copies share: nobody changes it once it was sent. One that was never edited is
/// an empty T.
template <class T>
class Shared {
public:
  Shared() = default;
  Shared(T value)  // NOLINT: implicit
      : value_(std::allocate_shared<T>(SlabAllocator<T>{}, std::move(value))) {}

  /// To fill it in; a copy of one's own if it is shared.
  T& edit() {
    if (value_ == nullptr) {
      value_ = std::allocate_shared<T>(SlabAllocator<T>{});
    } else if (value_.use_count() != 1) {
      *this = Shared(*value_);
    }
    return *value_;
  }
  const T& operator*() const {
    static const T empty;
    return value_ != nullptr ? *value_ : empty;
  }
  const T* operator->() const { return &**this; }
  friend bool operator==(const Shared& left, const Shared& right) {
    return left.value_ == right.value_ || *left == *right;
  }

private:
  std::shared_ptr<T> value_;
};

namespace message {

// --- from a client to the node ---

/// The first message of a worker. Refused when the digest differs.
struct Hello {
  std::uint32_t version = 0;
  std::uint64_t digest = 0;  // Of the function table.
  std::uint64_t functions = 0;
  std::int64_t pid = 0;
  friend bool operator==(const Hello&, const Hello&) = default;
};
/// The client holds one reference to each result, and is told when they are sealed. A task that is
/// known already (its parent runs for the second time) is not made anew.
struct Submit {
  Shared<TaskSpec> task;
  friend bool operator==(const Submit&, const Submit&) = default;
};
/// A value that is no task's; an absent one follows in another Put. The client holds one reference
/// for each.
struct Put {
  std::uint64_t object = 0;
  WireValue value;
  friend bool operator==(const Put&, const Put&) = default;
};
/// Room in the store, in a segment that only this client writes. Answered by Reserved.
struct Reserve {
  std::uint64_t request = 0;
  std::uint64_t size = 0;
  friend bool operator==(const Reserve&, const Reserve&) = default;
};
/// Room that is not needed after all.
struct Unreserve {
  Place place;
  friend bool operator==(const Unreserve&, const Unreserve&) = default;
};
/// References taken (positive) and given back (negative), of objects and actors.
struct References {
  std::vector<std::pair<std::uint64_t, std::int32_t>> changes;
  friend bool operator==(const References&, const References&) = default;
};
/// Tell when these are sealed: objects that the client did not make itself.
struct Want {
  std::vector<std::uint64_t> objects;
  friend bool operator==(const Want&, const Want&) = default;
};
/// Bring the object into memory and keep it there. Answered by Fetched.
struct Fetch {
  std::uint64_t object = 0;
  friend bool operator==(const Fetch&, const Fetch&) = default;
};
/// The client reads these no more: they may be moved. One for each Fetched, and for each stored
/// value in a Run.
struct Unpin {
  std::vector<std::uint64_t> objects;
  friend bool operator==(const Unpin&, const Unpin&) = default;
};
/// The task cannot go on without `count` of the objects. It lends its CPUs meanwhile. Task 0: the
/// worker has none, but what its last one left behind (a destructor) waits.
struct Blocked {
  std::uint64_t task = 0;
  std::vector<std::uint64_t> objects;
  std::uint32_t count = 0;
  bool may_nest = false;  // One of them may be run on top of it.
  friend bool operator==(const Blocked&, const Blocked&) = default;
};
struct Unblocked {
  std::uint64_t task = 0;
  friend bool operator==(const Unblocked&, const Unblocked&) = default;
};
/// The task begins: from here on it may have done something.
struct Began {
  std::uint64_t task = 0;
  friend bool operator==(const Began&, const Began&) = default;
};
/// The coroutine waits and holds no worker; then it goes on.
struct Suspended {
  std::uint64_t task = 0;
  bool suspended = false;
  std::uint64_t awaited = 0;  // What it waits for; itself: its reader; 0: its turn.
  friend bool operator==(const Suspended&, const Suspended&) = default;
};
/// Tasks that the worker was sent and has not begun.
struct GiveBack {
  std::vector<std::uint64_t> tasks;
  friend bool operator==(const GiveBack&, const GiveBack&) = default;
};
/// The end of a task: a value for each result (for a stream: of its end), or one failure for all.
struct Done {
  std::uint64_t task = 0;
  std::int32_t attempt = 0;
  std::vector<WireValue> values;
  bool may_retry = false;       // It threw, and asked to be tried again.
  Boxed<WireValue> checkpoint;  // An actor's state after this call.
  friend bool operator==(const Done&, const Done&) = default;
};
/// A generator's next item.
struct Yielded {
  std::uint64_t task = 0;
  std::uint32_t item = 0;
  WireValue value;
  friend bool operator==(const Yielded&, const Yielded&) = default;
};
/// The reader took so many items in all.
struct Consumed {
  std::uint64_t task = 0;
  std::uint32_t items = 0;
  friend bool operator==(const Consumed&, const Consumed&) = default;
};
struct Cancel {
  std::uint64_t task = 0;
  bool force = false;
  bool recursive = true;
  friend bool operator==(const Cancel&, const Cancel&) = default;
};
struct KillActor {
  std::uint64_t actor = 0;
  bool no_restart = true;
  friend bool operator==(const KillActor&, const KillActor&) = default;
};
/// Answered by ActorFound.
struct FindActor {
  std::uint64_t request = 0;
  std::string name;
  friend bool operator==(const FindActor&, const FindActor&) = default;
};
/// Answered by Answer. `what`: "state", or "node" for less of it (runtime/node_report.hpp).
struct Ask {
  std::uint64_t request = 0;
  std::string what;
  friend bool operator==(const Ask&, const Ask&) = default;
};
/// The segment is mapped: it may be sealed against others who would write, and shown to readers.
struct SegmentMapped {
  std::uint32_t segment = 0;
  friend bool operator==(const SegmentMapped&, const SegmentMapped&) = default;
};

// --- from the node to a client ---

/// The answer to Hello.
struct Welcome {
  ClientId client = 0;
  std::uint64_t node = 0;
  std::uint64_t inline_bytes = 0;  // Larger values go into the store.
  Bytes options;                   // What the driver's runtime was made with.
  friend bool operator==(const Welcome&, const Welcome&) = default;
};
/// `values`: one for each of the task's `needs`. `nested`: on top of the task that is blocked.
struct Run {
  Shared<TaskSpec> task;
  std::int32_t attempt = 0;
  bool nested = false;
  std::vector<WireValue> values;
  std::uint64_t checkpoint = 0;  // actor_creation: the object to go on from; 0: there is none.
  friend bool operator==(const Run&, const Run&) = default;
};
struct Sealed {
  std::uint64_t object = 0;
  WireValue value;
  friend bool operator==(const Sealed&, const Sealed&) = default;
};
struct Fetched {
  std::uint64_t object = 0;
  WireValue value;  // stored, or a failure.
  friend bool operator==(const Fetched&, const Fetched&) = default;
};
struct Reserved {
  std::uint64_t request = 0;
  Place place;
  Bytes failure;  // Empty, or why there is no room.
  friend bool operator==(const Reserved&, const Reserved&) = default;
};
/// Stop it: `sealed` says that its result is decided already.
struct CancelTask {
  std::uint64_t task = 0;
  friend bool operator==(const CancelTask&, const CancelTask&) = default;
};
/// The blocked task waits for what waits for it.
struct Deadlock {
  std::uint64_t task = 0;
  std::string why;
  friend bool operator==(const Deadlock&, const Deadlock&) = default;
};
/// Give back what is not begun: others are idle.
struct Recall {
  friend bool operator==(const Recall&, const Recall&) = default;
};
/// An item that a stream's reader waits for, or its end (`value` of an item past the last).
struct Item {
  std::uint64_t task = 0;
  std::uint32_t item = 0;
  bool last = false;
  WireValue value;
  friend bool operator==(const Item&, const Item&) = default;
};
/// The generator may go on: its reader took so many items in all.
struct Credit {
  std::uint64_t task = 0;
  std::uint32_t items = 0;
  friend bool operator==(const Credit&, const Credit&) = default;
};
struct ActorFound {
  std::uint64_t request = 0;
  std::uint64_t actor = 0;  // 0: there is none; else the client holds a reference.
  Shared<ActorSpec> spec;
  friend bool operator==(const ActorFound&, const ActorFound&) = default;
};
/// The actor is dead for good.
struct ActorEnded {
  std::uint64_t actor = 0;
  Bytes failure;
  friend bool operator==(const ActorEnded&, const ActorEnded&) = default;
};
struct Answer {
  std::uint64_t request = 0;
  Bytes text;
  friend bool operator==(const Answer&, const Answer&) = default;
};
/// End in order; an actor's object is destroyed first.
struct Exit {
  friend bool operator==(const Exit&, const Exit&) = default;
};

}  // namespace message

/// In the order of their numbers on the wire, from 1.
using Message =
    std::variant<message::Hello, message::Submit, message::Put, message::Reserve,
                 message::Unreserve, message::References, message::Want, message::Fetch,
                 message::Unpin, message::Blocked, message::Unblocked, message::Began,
                 message::Suspended, message::GiveBack, message::Done, message::Yielded,
                 message::Consumed, message::Cancel, message::KillActor, message::FindActor,
                 message::Ask, message::SegmentMapped, message::Welcome, message::Run,
                 message::Sealed, message::Fetched, message::Reserved, message::CancelTask,
                 message::Deadlock, message::Recall, message::Item, message::Credit,
                 message::ActorFound, message::ActorEnded, message::Answer, message::Exit>;

}  // namespace ray::detail
