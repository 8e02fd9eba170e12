// Coroutines that wait: how they are suspended and resumed.
#include "runtime/parts.hpp"

namespace ray::detail {

bool Engine::suspend(CoroutineWaiter& waiter) {
  Task* task = waiter.task;
  waiter.target = reinterpret_cast<std::uintptr_t>(&waiter) | Waiter::kCallback;
  waiter.fire = [](CallbackWaiter* node) {
    Task* resumed = static_cast<CoroutineWaiter*>(node)->task;
    const EngineScope scope(resumed->engine);
    Engine* engine = scope.engine();
    if (engine == nullptr) return;  // Its runtime has ended it.
    {
      const std::lock_guard lock(engine->parts_->suspended_mutex);
      engine->parts_->suspended.erase(resumed);
    }
    engine->resume(resumed);
  };
  Events::state(task, TaskState::suspended);
  const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  const bool ordered = extra != nullptr && extra->order != nullptr;
  const bool waits = waiter.awaited != nullptr;
  bool asleep = false;
  bool gone_on = false;
  {
    const std::lock_guard lock(parts_->suspended_mutex);
    // A cancel seals first and then looks here: it finds the coroutine, or we find the seal.
    if (!task->sealed()) {
      // Before it can go on; and whoever ends its wait comes after this.
      if (ordered) parts_->client->suspended(task, waiter.awaited);
      asleep = !waits || add_waiter(waiter.awaited, &waiter);
      if (asleep) parts_->suspended[task] = &waiter;
      gone_on = !asleep;
    }
  }
  if (gone_on) {
    Events::state(task, TaskState::running);
    if (ordered) parts_->client->resumed(task, true);
    return false;
  }
  // From here on the coroutine may go on elsewhere.
  if (!asleep) {
    resume(task);  // To be ended.
  } else if (waits) {
    parts_->arm_circle_search();
  }
  return true;
}

bool Engine::wake_suspended(Task* task) {
  {
    const std::lock_guard lock(parts_->suspended_mutex);
    if (parts_->suspended.erase(task) == 0) return false;
  }
  resume(task);
  return true;
}

void Engine::end_circle(Task* coroutine, Object* awaited) {
  {
    const std::lock_guard lock(parts_->suspended_mutex);
    const auto found = parts_->suspended.find(coroutine);
    if (found == parts_->suspended.end()) return;
    CoroutineWaiter* waiter = found->second;
    if (awaited != nullptr && waiter->awaited != awaited) return;
    if (waiter->awaited == nullptr || !remove_waiter(waiter->awaited, waiter)) return;
    waiter->in_circle = true;
    parts_->suspended.erase(found);
  }
  resume(coroutine);
}

std::size_t Engine::backpressure_of(Task* task) noexcept {
  const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  const int items = extra != nullptr && extra->backpressure > 0
                        ? extra->backpressure
                        : TaskOptions{}.generator_backpressure;
  return static_cast<std::size_t>(items);
}

void Engine::resume(Task* task) {
  task->flags |= kResumed;
  Events::state(task, TaskState::running);
  const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  const bool is_call = task->ops->kind == ObjectKind::actor_call;
  if (extra != nullptr && extra->order != nullptr) parts_->client->resumed(task, !is_call);
  if (is_call) {
    actor_resume(task);
  } else if (task->has(kGranted) || task->has(kNoCpu)) {
    enqueue_errand(task);
  } else {
    enqueue(task);
  }
}

}  // namespace ray::detail
