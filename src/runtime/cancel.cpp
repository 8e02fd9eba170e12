// Cancelling: the object fails at once, whatever its task does; a running task is asked to stop
// through its stop token; what it has started is cancelled with it.
//
// Children are not listed anywhere on the hot path. A cancelled task's id is remembered, and a
// task whose parent stands there does not start (and is remembered in turn). Running children
// that asked for their stop token are found by it.
#include <ray/runtime/engine.hpp>

#include "runtime/parts.hpp"

namespace ray::detail {

void Engine::cancel(Object* object, CancelOptions options) {
  Task* task = producer_of(object);
  if (task == nullptr) return;
  const EngineScope scope(task->engine);
  Engine* engine = scope.engine();
  if (engine == nullptr) return;
  if (task->has(kRemote)) engine->parts_->client->cancel(task->task_id(), options);
  engine->cancel_here(task);
  if (options.recursive) engine->parts_->cancel_children(task->task_id());
}

void Engine::cancel_here(Task* task, std::uintptr_t seal) {
  EngineParts& parts = *parts_;
  if (task->ops->seal_elements != nullptr) task->ops->seal_elements(task, seal, false);
  if (!task->sealed() && task->has(kTraced)) Events::state(task, TaskState::cancelled);
  seal_object(task, seal);
  parts.request_stop(task);
  const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  if (extra != nullptr && extra->has_demand) parts.pump();  // It may have stood in line there.
  bool asleep = false;
  {
    const std::lock_guard lock(parts.suspended_mutex);
    const auto found = parts.suspended.find(task);
    if (found != parts.suspended.end()) {
      CoroutineWaiter* waiter = found->second;
      asleep = waiter->awaited == nullptr || remove_waiter(waiter->awaited, waiter);
      if (asleep) parts.suspended.erase(found);
    }
  }
  if (asleep) resume(task);
}

void EngineParts::request_stop(Task* task) {
  std::stop_source stop(std::nostopstate);
  {
    const std::lock_guard lock(cancel_mutex);
    const auto running = stoppables.find(task->task_id());
    if (running != stoppables.end()) stop = running->second.stop;
  }
  stop.request_stop();  // Without the lock: it runs the user's callbacks.
}

void EngineParts::note_cancelled(std::uint64_t id) {
  if (!cancelled.insert(id).second) return;
  cancelled_bloom[id % 64].fetch_or(std::uint64_t{1} << (id >> 58), std::memory_order_seq_cst);
  cancelled_order.push_back(id);
  if (cancelled_order.size() > kCancelledMax) {
    cancelled.erase(cancelled_order.front());
    cancelled_order.pop_front();
  }
}

void EngineParts::cancel_children(std::uint64_t id) {
  std::vector<std::stop_source> stops;
  {
    const std::lock_guard lock(cancel_mutex);
    note_cancelled(id);
    engine.special_.fetch_or(Engine::kCancels, std::memory_order_seq_cst);
    for (bool more = true; more;) {
      more = false;
      for (auto& [child, stoppable] : stoppables) {
        if (cancelled.contains(child) || !cancelled.contains(stoppable.parent)) continue;
        note_cancelled(child);
        stops.push_back(stoppable.stop);
        more = true;
      }
    }
  }
  for (auto& stop : stops) stop.request_stop();
  // Children that are suspended coroutines.
  std::vector<Task*> asleep;
  {
    const std::lock_guard lock(suspended_mutex);
    const std::lock_guard ids(cancel_mutex);
    for (auto& [task, waiter] : suspended) {
      if (!cancelled.contains(task->parent)) continue;
      note_cancelled(task->task_id());
      retain(task);
      asleep.push_back(task);
    }
  }
  for (Task* task : asleep) {
    engine.cancel_here(task, kParentCancelled);
    release(task);
  }
}

bool EngineParts::is_cancelled_child(Task* task) {
  const std::uint64_t bits = cancelled_bloom[task->parent % 64].load(std::memory_order_relaxed);
  if ((bits >> (task->parent >> 58) & 1) == 0) return false;
  const std::lock_guard lock(cancel_mutex);
  if (cancelled.empty()) return false;
  const std::uint64_t id = task->task_id();
  if (!cancelled.contains(task->parent)) return false;
  note_cancelled(id);
  return true;
}

std::stop_token EngineParts::stop_token_of(Task* task) {
  TaskExtra& extra = extra_of(task);
  if (!extra.stoppable.exchange(true, std::memory_order_acq_rel)) {
    const std::uint64_t id = task->task_id();
    const std::lock_guard lock(cancel_mutex);
    stoppables.emplace(id, Stoppable{task->parent, extra.stop});
    if (task->sealed() || cancelled.contains(task->parent) ||
        stopping.load(std::memory_order_relaxed)) {
      extra.stop.request_stop();
    }
  }
  // A kill that came before the token was asked for: it found nothing to trigger.
  if (task->ops->kind == ObjectKind::actor_call && actor_gave_up(task)) extra.stop.request_stop();
  return extra.stop.get_token();
}

void EngineParts::forget_stoppable(Task* task, TaskExtra& extra) {
  const std::lock_guard lock(cancel_mutex);
  stoppables.erase(task->task_id());
  extra.stoppable.store(false, std::memory_order_release);
}

}  // namespace ray::detail
