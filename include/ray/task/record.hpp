// The waist: an object or a task once its types are gone. One record holds a task's state,
// arguments and result; an ObjectRef is a counted pointer to it (performance.md, "One object
// per task"). Nothing below this header knows a user's type.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <ray/config.hpp>
#include <ray/error.hpp>
#include <ray/ids.hpp>

namespace ray {
class OutputArchive;
class InputArchive;
}  // namespace ray

namespace ray::detail {

struct Object;
struct Task;
struct TaskExtra;
struct TaskEvent;
struct ActorCore;
struct RecordType;
class StreamCore;

/// What a reference of the runtime's own weighs. It keeps the record, but once the object is
/// sealed the runtime does not touch its value any more: so a user's only reference may move the
/// value out, whatever the runtime still holds (see is_only_reference).
inline constexpr std::uint32_t kRuntimeRef = 1u << 28;

/// What an object's `waiters` word says once it is sealed. Sealing happens exactly once: the
/// first that swaps one of these in wins, later results are dropped. Odd values are a lock.
/// Smaller than any address, so below kSealMax there is no list.
enum Seal : std::uintptr_t {
  kPending = 0,
  kLocked = 1,  // Or-ed to a list while a waiter takes itself out.
  kValue = 2,
  kFailed = 4,  // A failure lies where the value would: see store_failure().
  // Without a payload, so that anybody may seal while the task still runs:
  kCancelled = 6,
  kTimedOut = 8,
  kShutdown = 10,
  kActorDied = 12,
  kStreamEnd = 14,
  kParentCancelled = 16,
  kEncoded = 18,  // There is a value, but only as bytes: see require_value().
  kSealMask = 30,
  // Beside the seal, where ObjectOps::retires. An ordinary task's maker does not give its weight in
  // `refs` back: it sets kRetired, mostly with the seal, in one step. Whoever gives the last of the
  // other references back sets kAbandoned unless it finds kRetired. So one word decides: the second
  // of the two frees the record, and neither touches it after setting its own.
  kRetired = 32,
  kAbandoned = 64,
  kShared = 128,  // Beside the seal: other processes know the object (runtime/shared_objects.hpp).
  kSealMax = 256,
};
constexpr std::uintptr_t seal_in(std::uintptr_t word) noexcept {
  return word < kSealMax ? word & kSealMask : std::uintptr_t{kPending};  // kLocked: pending.
}
constexpr bool is_failure(std::uintptr_t seal) noexcept {
  return seal != kPending && seal != kValue && seal != kEncoded;
}

/// One who waits for an object; hangs in the object's list until it is sealed.
/// The low bits of `target` say who: a task missing an argument, a thread, or a callback.
struct Waiter {
  enum Kind : std::uintptr_t { kTask = 0, kThread = 1, kCallback = 2, kMask = 3 };
  Waiter* next;
  std::uintptr_t target;
};

/// A waiter that is called when the object is sealed. `fire` may free the node.
struct CallbackWaiter : Waiter {
  void (*fire)(CallbackWaiter*);
};

enum class ObjectKind : std::uint8_t {
  cell,        // A put, a stream's item: sealed by whoever made it.
  element,     // One of several results of a task.
  task,        // A task; the record is its result as well.
  actor_call,  // A call in an actor's mailbox.
};

/// A suspended coroutine. Lies in its frame while it waits for `awaited` (null: a stream).
struct CoroutineWaiter : CallbackWaiter {
  Object* awaited;
  Task* task;
  bool in_circle;  // That one waits for the coroutine in turn; set before it is resumed.
};

/// How an object's value, and a task's arguments, become bytes and come back. What cannot throws
/// SerializationError.
struct ObjectCodec {
  /// Writes the value; of several results the `part`-th.
  void (*write)(OutputArchive&, Object*, std::uint32_t part);
  /// Makes the value in its place.
  void (*read)(InputArchive&, Object*);
  // Tasks only.
  std::uint32_t results;  // 0: one; else so many objects; ~0: a stream.
  void (*write_arguments)(OutputArchive&, Task*);
  /// The object of one of several results.
  Object* (*element)(Task*, std::uint32_t part);
  /// The stream of a generator; `make`: there is none yet.
  StreamCore* (*stream)(Task*, bool make);
  const RecordType* type;
};

/// What a user's types left behind: one constant per F and argument list.
struct ObjectOps {
  /// Destroys the value, if there is one, and frees the record.
  void (*destroy)(Object*) noexcept;
  /// Destroys what `seal` says lies in the place of the value.
  void (*drop)(Object*, std::uintptr_t seal) noexcept;
  std::uint32_t value_offset;
  ObjectKind kind;
  bool retires;  // See kRetired.
  bool leaf;     // Holds nothing whose destruction could free another object.
  // Tasks only. run: calls the function and commits its result (see engine.hpp).
  void (*run)(Task*);
  void (*release_arguments)(Task*) noexcept;
  /// Calls `visit` for each object among the arguments.
  void (*arguments)(Task*, void (*visit)(void*, Object*), void* context);
  std::string_view (*name)();
  /// Several results, or a stream: seals each with what sealed the task. `last`: the task is over.
  void (*seal_elements)(Task*, std::uintptr_t seal, bool last) noexcept;
  const ObjectCodec* codec;
  bool constant = false;  // A call of a const method.
};

/// Lifetime: ends when `refs` falls to 0. Threads: any.
struct Object {
  Object(const ObjectOps* operations, std::uint32_t references, std::uint64_t parent_id,
         std::uint32_t child_index, std::uintptr_t seal) noexcept
      : ops(operations), refs(references), index(child_index), waiters(seal), parent(parent_id) {}

  const ObjectOps* ops;
  std::atomic<std::uint32_t> refs;
  std::uint32_t index;                  // The how-manieth child of `parent`.
  std::atomic<std::uintptr_t> waiters;  // A list of Waiter while pending, then a Seal.
  std::uint64_t parent;                 // Id of the task that made it.

  std::uint64_t task_id() const noexcept { return child_id(parent, index); }
  /// acquire: pairs with the release in seal(); the value may be read after it.
  std::uintptr_t seal_state() const noexcept {
    return seal_in(waiters.load(std::memory_order_acquire));
  }
  bool sealed() const noexcept { return seal_state() != kPending; }
  void* value() noexcept { return reinterpret_cast<char*>(this) + ops->value_offset; }
};

/// Where a task was submitted: a file name and a line in 8 bytes (48 bits of pointer, 16 of
/// line; lines above 65535 say 65535). Taken by default arguments, so it costs the caller nothing.
class SourceSite {
public:
  constexpr SourceSite() = default;
  static constexpr SourceSite current(const char* file = __builtin_FILE(),
                                      unsigned line = __builtin_LINE()) noexcept {
    SourceSite site;
    site.file_ = file;
    site.line_ = line;
    return site;
  }
  const char* file() const noexcept { return file_ == nullptr ? "" : file_; }
  unsigned line() const noexcept { return line_; }

  std::uint64_t packed() const noexcept {
    const std::uint64_t line = line_ < 0xffff ? line_ : 0xffff;
    return reinterpret_cast<std::uintptr_t>(file_) | line << 48;
  }
  static SourceSite unpack(std::uint64_t word) noexcept {
    SourceSite site;
    site.file_ = reinterpret_cast<const char*>(word & 0xffff'ffff'ffffULL);
    site.line_ = static_cast<unsigned>(word >> 48);
    return site;
  }

private:
  const char* file_ = nullptr;
  unsigned line_ = 0;
};

enum TaskFlag : std::uint8_t {
  kTraced = 1,     // `site` holds a TaskEvent*.
  kRetryable = 2,  // May run again after a throw: arguments stay, are copied.
  kNoCpu = 4,      // Holds no CPU slot while it runs (actors, num_cpus = 0).
  kGranted = 8,    // Its resources were reserved by the resource ledger.
  kInternal = 16,  // Our own errand (an actor's turn, a resumption): not shown, not counted.
  kResumed = 32,   // A coroutine that was suspended: `run` resumes it.
  kRemote = 64,    // Runs in another process; the record is the placeholder of its result.
};

/// A task: 64 bytes, then its arguments and its result.
struct Task : Object {
  Task(const ObjectOps* operations, std::uint32_t references, std::uint64_t parent_id = 0,
       std::uint32_t child_index = 0) noexcept
      : Object(operations, references, parent_id, child_index, kPending) {}

  /// In a lane: the address of its slot there. In a mailbox or queue: the next task.
  std::atomic<std::uintptr_t> slot{0};
  std::atomic<TaskExtra*> extra{nullptr};  // What few tasks have; made on demand.
  std::atomic<std::uint32_t> missing{0};   // Arguments not sealed yet, plus one while submitting.
  std::uint16_t engine = 0;                // Index of the runtime that runs it.
  std::atomic<std::uint8_t> flags{0};
  std::atomic<std::uint8_t> failing{0};  // Somebody stores its failure: only the first may.
  std::uint64_t site = 0;                // SourceSite, or the TaskEvent that has it.

  Task* next() const noexcept {
    return reinterpret_cast<Task*>(slot.load(std::memory_order_relaxed));
  }
  void set_next(Task* task) noexcept {
    slot.store(reinterpret_cast<std::uintptr_t>(task), std::memory_order_relaxed);
  }
  bool has(TaskFlag flag) const noexcept {
    return (flags.load(std::memory_order_relaxed) & flag) != 0;
  }
  /// Without anything that few tasks have: nothing to look after when it ends.
  bool plain() const noexcept {
    return extra.load(std::memory_order_acquire) == nullptr && !has(kTraced);
  }
  TaskEvent* event() const noexcept {
    return has(kTraced) ? reinterpret_cast<TaskEvent*>(site) : nullptr;
  }
};
static_assert(sizeof(Object) == 32 && sizeof(Task) == 64);

/// One of a task's several results. Owns: a reference to the task.
struct Element : Object {
  Element(const ObjectOps* operations, Task* task, std::uint32_t position) noexcept
      : Object(operations, kRuntimeRef + 1, ~task->task_id(), position, kPending), producer(task) {}
  Task* producer;
};

void destroy_object(Object* object) noexcept;
/// What is told of the end of an object that other processes know; set by the runtime.
extern std::atomic<void (*)(Object*) noexcept> forget_shared;
/// Seals if pending, gives `references` back (kRuntimeRef: the maker leaves), and tells all
/// waiters; false, and none of it, if it was sealed.
bool seal_object(Object* object, std::uintptr_t seal, std::uint32_t references = 0) noexcept;
/// The maker gives up its part in an object that is sealed.
void leave_object(Object* object) noexcept;

inline void retain(Object* object, std::uint32_t count = 1) noexcept {
  object->refs.fetch_add(count, std::memory_order_relaxed);
}

/// See kRetired. Placeholders are looked up in a table, so their count must be exact.
inline bool retires(const Object* object) noexcept {
  return object->ops->retires && !static_cast<const Task*>(object)->has(kRemote);
}

void release_slow(Object* object, std::uint32_t count) noexcept;

/// Gives `count` references back. The last one of a finished task needs no read-modify-write: who
/// reads 'all of them are mine' is alone (acquire: pairs with the release of those who left).
inline void release(Object* object, std::uint32_t count = 1) noexcept {
  if (object->refs.load(std::memory_order_acquire) == kRuntimeRef + count &&
      object->waiters.load(std::memory_order_acquire) == (kValue | kRetired) && object->ops->leaf) {
    object->ops->destroy(object);
  } else {
    release_slow(object, count);
  }
}

/// seal_object(task, kValue, kRuntimeRef) where nobody waits; false, and nothing done, otherwise.
/// Requires: ObjectOps::retires.
inline bool seal_value(Task* task) noexcept {
  std::uintptr_t word = task->waiters.load(std::memory_order_acquire);
  if (word == kAbandoned && task->ops->leaf) {  // Submitted and forgotten: nobody else is here.
    task->waiters.store(kValue | kRetired, std::memory_order_relaxed);
    destroy_object(task);
    return true;
  }
  // release: publishes the value, and that this thread is done with the record.
  return word == kPending &&
         task->waiters.compare_exchange_strong(word, kValue | kRetired, std::memory_order_release,
                                               std::memory_order_relaxed);
}

/// Whether the caller's is the only reference but for the runtime's. Requires: sealed, and the
/// caller holds one. acquire: whoever else held one is done with the value.
inline bool is_only_reference(const Object* object) noexcept {
  return object->refs.load(std::memory_order_acquire) % kRuntimeRef == 1;
}
/// The same for a value that cannot be copied: waits a little for references that only pass by
/// (a thread that looked whether it can help).
bool becomes_only_reference(const Object* object) noexcept;

/// Puts a failure in the place of the value (8 bytes), before sealing with kFailed.
void store_failure(Object* object, FailurePtr failure);
const FailurePtr& stored_failure(Object* object) noexcept;
void drop_failure(Object* object) noexcept;

/// The failure of an object sealed with anything but kValue.
FailurePtr failure_of(Object* object);

/// Makes the value of an object sealed with kEncoded, once; false if that is not possible, and the
/// object has failed now.
bool decode_value(Object* object);
/// The bytes that stand in the place of a value; drops them.
struct Encoded;
void drop_encoded(Object* object) noexcept;
/// Whether the object, which is sealed, has a value; which is there then.
inline bool has_value(Object* object) {
  const std::uintptr_t seal = object->seal_state();
  return seal == kValue || (seal == kEncoded && decode_value(object));
}

}  // namespace ray::detail
