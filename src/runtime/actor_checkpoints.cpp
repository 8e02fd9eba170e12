// The state of an actor that is to outlive its object: taken when a call has ended and before its
// result is told, so that a result that was told is not lost (docs/processes.md, "Checkpoints").
#include <algorithm>

#include <ray/error.hpp>

#include <ray/detail/records.hpp>

#include "runtime/actor_core.hpp"
#include "runtime/client.hpp"
#include "runtime/failures.hpp"
#include "runtime/references.hpp"

namespace ray::detail {

namespace {

struct Checkpoint {
  std::uint64_t number = 0;  // 0: none is due. One that was begun later knows of more calls.
  int calls = 0;             // That it covers.
  std::shared_ptr<void> state;
};

/// Throws Error, where checkpoint() throws.
Checkpoint take_checkpoint(Task* call) {
  ActorCore& core = *static_cast<ActorCall*>(call)->core;
  Checkpoint taken;
  if (!core.saves || call->ops->constant) return taken;
  const std::shared_ptr<Instance>& instance = static_cast<ActorCall*>(call)->instance;
  if (instance == nullptr) return taken;  // It never began.
  {
    const std::lock_guard lock(core.mutex);
    if (instance->dead || ++core.unsaved < core.options.checkpoint_every) return taken;
    taken.number = ++core.checkpoints;
    taken.calls = core.unsaved;
  }
  const std::exception_ptr error =
      thrown_by([&] { taken.state = core.cls->checkpoint->take(instance->object); });
  if (error == nullptr) return taken;
  throw Error("ray: task '" + task_name(call) + "' has run, but what it did is not saved: " +
              "checkpoint() of " + actor_title(core) + " threw " + describe(error));
}

}  // namespace

std::uintptr_t actor_save(Task* call, std::uintptr_t seal) {
  auto& in = *static_cast<ActorCall*>(call);
  ActorCore& core = *in.core;
  if (!core.saves || call->ops->constant || in.instance == nullptr) return seal;
  const TaskExtra* extra = call->extra.load(std::memory_order_acquire);
  if (extra != nullptr && extra->order != nullptr) return seal;  // See Client::finished().
  Checkpoint taken;
  const std::exception_ptr error = thrown_by([&] { taken = take_checkpoint(call); });
  {
    const std::lock_guard lock(core.mutex);
    if (!in.instance->dead && error == nullptr) {
      if (taken.number == 0) return seal;
      core.unsaved = std::max(0, core.unsaved - taken.calls);
      if (taken.number > core.saved_number) {
        core.saved_number = taken.number;
        core.saved.swap(taken.state);
      }
      in.saved = true;
      return seal;
    }
  }
  if (is_failure(seal) || call->sealed()) return seal;
  // What it did is lost, so its result must not be told.
  call->ops->drop(call, seal);
  if (error == nullptr) return kActorDied;
  store_failure(call, make_failure(error, task_name(call)));
  return kFailed;
}

// --- in a process of its own ---

std::shared_ptr<void> Client::fetch_checkpoint(std::uint64_t id, const ActorClass& cls) {
  Encoded encoded;
  fetch(encoded, id);
  std::shared_ptr<void> state;
  read_wire_value(*this, encoded.value, encoded.pin,
                  [&](InputArchive& in) { state = cls.checkpoint->read(in); });
  return state;
}

/// Its number; 0 if none is due.
std::uint64_t Client::pack_checkpoint(Task* call, Boxed<WireValue>& into, Aliases& aliases) {
  const Checkpoint taken = take_checkpoint(call);
  if (taken.number == 0) return 0;
  ActorCore& core = *static_cast<ActorCall*>(call)->core;
  References references(*this, aliases);
  OutputArchive out(inline_bytes_, &references);
  core.cls->checkpoint->write(out, taken.state.get());
  into = pack(out, references.take_contains());
  const std::lock_guard lock(core.mutex);
  core.unsaved = std::max(0, core.unsaved - taken.calls);
  return taken.number;
}

void Client::send_done(message::Done&& done, std::uint64_t checkpoint) {
  if (checkpoint == 0) {
    send(std::move(done));
    return;
  }
  const std::lock_guard lock(checkpoint_mutex_);
  if (checkpoint > sent_checkpoint_) {
    sent_checkpoint_ = checkpoint;
  } else {
    // The node has one already that was begun after this call had ended.
    const WireValue older = std::move(*done.checkpoint);
    done.checkpoint = {};
    if (older.kind == WireValue::Kind::stored) send(message::Unreserve{older.place});
  }
  send(std::move(done));
}

}  // namespace ray::detail
