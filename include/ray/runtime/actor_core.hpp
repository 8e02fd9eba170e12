// An actor once its class is gone: a mailbox, the object behind it, and the rules of who may run
// when. Its calls run on the runtime's workers, a turn at a time; an actor holds no thread.
//
// Order: calls of one caller (one task or driver thread) start in the order they were made, also
// when an earlier one still waits for an argument. With max_concurrency over 1 they overlap.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <typeinfo>
#include <vector>

#include <ray/runtime/engine.hpp>

namespace ray::detail {

struct Instance;

/// How the state of an actor is saved and comes back (ray/detail/checkpoints.hpp).
struct CheckpointOps {
  std::shared_ptr<void> (*take)(const void* object);
  void (*restore)(void* object, const void* state);
  // As bytes. What cannot throws SerializationError.
  void (*write)(OutputArchive&, const void* state);
  std::shared_ptr<void> (*read)(InputArchive&);
};

/// What an actor's class left behind.
struct ActorClass {
  std::string_view (*name)();
  void (*destroy)(void* instance) noexcept;
  const std::type_info* type;
  const CheckpointOps* checkpoint;  // Null: its state is not saved.
};

/// References that keep the core, but not the actor, alive: those of its calls.
void actor_retain(ActorCore* core) noexcept;
void actor_release(ActorCore* core) noexcept;

/// The task that makes an actor's object. Runs once, and again at each restart; its arguments
/// stay until the actor is dead for good.
struct Creation : Task {
  Creation(const ObjectOps* operations, std::uint64_t parent_id, std::uint32_t child_index) noexcept
      : Task(operations, 1, parent_id, child_index) {}
  ~Creation() {
    if (core != nullptr) actor_release(core);
  }
  ActorCore* core = nullptr;  // Counted.
  /// Makes the object from the arguments; may throw. `again`: it may be called once more.
  void* (*construct)(Creation*, bool again) = nullptr;
  Object* (*failed_argument)(Creation*) = nullptr;
  const ActorClass* cls = nullptr;
};

/// A new actor with one handle. Takes over the creation, whose arguments the caller registers
/// afterwards. With get_if_exists it may be one that was there: then `*existed` is set and the
/// creation is dropped. Throws InvalidArgumentError for bad options or a name that is taken.
ActorCore* make_actor(Engine& engine, const ActorClass* actor_class, const ActorOptions& options,
                      Creation* creation, bool* existed);
/// The creation's `run`.
void actor_construct(Task* creation);

/// The engine of an actor, which is not torn down while this lives.
class ActorScope {
public:
  explicit ActorScope(const ActorCore* core);
  /// Null when it is gone.
  Engine* engine() const noexcept { return scope_.engine(); }

private:
  EngineScope scope_;
};

// Handles. All of them may be called while the runtime ends, and after it.
void actor_retain_handle(ActorCore* core) noexcept;
void actor_release_handle(ActorCore* core) noexcept;
std::uint64_t actor_id(const ActorCore* core) noexcept;
const ActorClass* actor_class(const ActorCore* core) noexcept;
void actor_kill(ActorCore* core, bool no_restart);
/// Whether it is dead for good.
bool actor_is_dead(ActorCore* core) noexcept;
/// With a handle of its own. Throws InvalidArgumentError when there is none of that name or class.
ActorCore* find_actor(Engine& engine, std::string_view name, const ActorClass* actor_class);

/// Readies a call for its actor: engine, retries, group; with max_pending_calls it is counted, and
/// must be submitted. Throws PendingCallsLimitExceededError,
/// InvalidArgumentError (unknown group).
void actor_prepare(ActorCore* core, Task* call, const MethodOptions* options);
/// Submits a call. If some of its arguments are still missing, it keeps its place in line: then
/// this comes before they are registered, and the call posts itself when the last one arrives.
void actor_submit(ActorCore* core, Task* call, bool ready);

/// A call's record, behind the Task part: which actor, and what it keeps while it waits.
struct ActorCall : Task {
  ActorCall(const ObjectOps* operations, std::uint32_t references) noexcept
      : Task(operations, references) {}
  ~ActorCall() {
    if (core != nullptr) actor_release(core);
  }
  ActorCore* core = nullptr;  // Counted.
  std::uint32_t group = 0;
  bool saved = false;  // What it did is in the state that the actor starts again from.
  std::shared_ptr<Instance> instance;  // The object it began on.
};

}  // namespace ray::detail
