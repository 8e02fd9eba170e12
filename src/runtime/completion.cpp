// The end of a task: its object is sealed, and what waited for it is told.
#include <ray/error.hpp>
#include <ray/runtime/engine.hpp>

#include "runtime/parts.hpp"

namespace ray::detail {

namespace {

inline void pause() noexcept { __builtin_ia32_pause(); }

bool is_sealed(std::uintptr_t word) { return seal_in(word) != kPending; }
Waiter* list_in(std::uintptr_t word) {
  return word < kSealMax ? nullptr : reinterpret_cast<Waiter*>(word);
}

}  // namespace

bool add_waiter(Object* object, Waiter* waiter) noexcept {
  std::uintptr_t word = object->waiters.load(std::memory_order_acquire);
  for (;;) {
    if (is_sealed(word)) return false;
    if ((word & kLocked) != 0) {
      pause();
      word = object->waiters.load(std::memory_order_acquire);
      continue;
    }
    waiter->next = list_in(word);
    // release: whoever seals sees the waiter's fields; acquire on failure: sees the seal's value.
    if (object->waiters.compare_exchange_weak(word, reinterpret_cast<std::uintptr_t>(waiter),
                                              std::memory_order_release,
                                              std::memory_order_acquire)) {
      return true;
    }
  }
}

bool remove_waiter(Object* object, Waiter* waiter) noexcept {
  std::uintptr_t word = object->waiters.load(std::memory_order_acquire);
  for (;;) {
    if (is_sealed(word)) return false;
    if ((word & kLocked) != 0) {
      pause();
      word = object->waiters.load(std::memory_order_acquire);
      continue;
    }
    if (object->waiters.compare_exchange_weak(word, word | kLocked, std::memory_order_acquire,
                                              std::memory_order_acquire)) {
      break;
    }
  }
  Waiter* head = list_in(word);
  bool found = false;
  for (Waiter** link = &head; *link != nullptr; link = &(*link)->next) {
    if (*link == waiter) {
      *link = waiter->next;
      found = true;
      break;
    }
  }
  object->waiters.store(reinterpret_cast<std::uintptr_t>(head), std::memory_order_release);
  return found;
}

FailurePtr failure_of(Object* object) {
  if (object->seal_state() == kFailed) return stored_failure(object);
  const auto sealed_by = [&](std::exception_ptr exception) {
    return make_failure(std::move(exception), "");
  };
  const std::string who = "task '" + task_name(object) + "'";
  const Task* producer = producer_of(object);
  const bool is_call = producer != nullptr && producer->ops->kind == ObjectKind::actor_call;
  const std::string options = is_call ? "MethodOptions" : "TaskOptions";
  switch (object->seal_state()) {
    case kCancelled:
      return sealed_by(
          std::make_exception_ptr(TaskCancelledError(who + " was cancelled by ray::cancel")));
    case kParentCancelled:
      return sealed_by(std::make_exception_ptr(TaskCancelledError(
          who +
          " was cancelled together with the task that had started it; to spare it, cancel "
          "with {.recursive = false}")));
    case kTimedOut:
      return sealed_by(std::make_exception_ptr(TaskCancelledError(
          who + " did not end within its timeout and was cancelled; give it a longer " + options +
          "::timeout")));
    case kShutdown:
      return sealed_by(std::make_exception_ptr(TaskCancelledError(
          who + " did not end: its runtime was shut down first; get its result before")));
    case kActorDied:
      return sealed_by(std::make_exception_ptr(
          ActorDiedError(who + " did not end: " + actor_end_of(producer_of(object)))));
    default:
      break;
  }
  return sealed_by(std::make_exception_ptr(Error("ray: no failure in an object that has a value")));
}

bool Engine::wait_for_argument(Object* argument, Waiter* node, Task* task) noexcept {
  node->target = reinterpret_cast<std::uintptr_t>(task) | Waiter::kTask;
  return add_waiter(argument, node);
}

Task* producer_of(Object* object) noexcept {
  switch (object->ops->kind) {
    case ObjectKind::task:
    case ObjectKind::actor_call:
      return static_cast<Task*>(object);
    case ObjectKind::element:
      return static_cast<Element*>(object)->producer;
    case ObjectKind::cell:
      break;
  }
  return nullptr;
}

void tell_thread(Waiter* waiter, std::uintptr_t seal) noexcept;  // waiting.cpp

namespace {

/// Tasks whose objects failed before all their arguments came, on their way to be sealed: a chain
/// of a million of them must not recurse.
/// Null unless one is being worked off further down this thread's stack.
constinit thread_local std::vector<Task*>* failing_tasks = nullptr;

/// An argument failed: the object fails at once. The task itself stays until its other arguments
/// are there, and then ends without running. Requires: `task` cannot become ready meanwhile.
void fail_early(Task* task, Object* argument) {
  if (task->has(kInternal)) return;  // An actor's creation has no object; it looks for itself.
  if (task->failing.exchange(1, std::memory_order_acq_rel) != 0) return;
  store_failure(task, extend_failure(failure_of(argument), task_name(task)));
  task->missing.fetch_add(1, std::memory_order_relaxed);  // Until it is sealed, below.
  if (failing_tasks != nullptr) {
    failing_tasks->push_back(task);
    return;
  }
  std::vector<Task*> failing{task};
  failing_tasks = &failing;
  while (!failing.empty()) {
    Task* next = failing.back();
    failing.pop_back();
    if (next->ops->seal_elements != nullptr) next->ops->seal_elements(next, kFailed, false);
    if (!seal_object(next, kFailed)) drop_failure(next);
    if (next->missing.fetch_sub(1, std::memory_order_acq_rel) == 1) make_ready(next);
  }
  failing_tasks = nullptr;
}

}  // namespace

/// Whether it stands for what another process makes.
bool is_placeholder(const Object* object) noexcept {
  switch (object->ops->kind) {
    case ObjectKind::task:
    case ObjectKind::actor_call:
      return static_cast<const Task*>(object)->has(kRemote);
    case ObjectKind::element:
      return static_cast<const Element*>(object)->producer->has(kRemote);
    case ObjectKind::cell:
      break;
  }
  return true;  // One that was made here is sealed from the first.
}

void leave_object(Object* object) noexcept {
  if (!retires(object)) {
    release(object, kRuntimeRef);
  } else if ((object->waiters.fetch_or(kRetired, std::memory_order_acq_rel) & kAbandoned) != 0) {
    destroy_object(object);
  }
}

bool seal_object(Object* object, std::uintptr_t seal, std::uint32_t references) noexcept {
  const bool retiring = references == kRuntimeRef && retires(object);
  if (retiring) references = 0;
  const std::uintptr_t shared = is_placeholder(object) ? std::uintptr_t{kShared} : 0;
  std::uintptr_t word = object->waiters.load(std::memory_order_relaxed);
  for (;;) {
    if (is_sealed(word)) return false;
    if ((word & kLocked) != 0) {
      pause();
      word = object->waiters.load(std::memory_order_relaxed);
      continue;
    }
    std::uintptr_t sealed = seal | shared | (retiring ? std::uintptr_t{kRetired} : 0);
    if (word < kSealMax) sealed |= word;  // Abandoned, or pending and nothing else.
    // release: publishes the value. acquire: the waiters' fields.
    if (object->waiters.compare_exchange_weak(word, sealed, std::memory_order_acq_rel,
                                              std::memory_order_relaxed)) {
      break;
    }
  }
  if (word < kSealMax) {
    if (retiring && (word & kAbandoned) != 0) destroy_object(object);
    if (references != 0) release(object, references);
    return true;
  }
  if (is_failure(seal)) {
    for (auto* waiter = reinterpret_cast<Waiter*>(word); waiter != nullptr; waiter = waiter->next) {
      if ((waiter->target & Waiter::kMask) != Waiter::kTask) continue;
      auto* task = reinterpret_cast<Task*>(waiter->target);
      fail_early(task, object);
    }
  }
  // Before the waiters hear of it: one of them may want to move the value out. Each of them holds
  // a reference, so while there are waiters the object stays.
  if (references != 0) release(object, references);
  // In the order in which they came.
  Waiter* list = nullptr;
  for (auto* waiter = reinterpret_cast<Waiter*>(word); waiter != nullptr;) {
    Waiter* next = waiter->next;
    waiter->next = list;
    list = waiter;
    waiter = next;
  }
  while (list != nullptr) {
    Waiter* waiter = list;
    list = waiter->next;  // Before telling: the node may be gone after.
    const std::uintptr_t target = waiter->target & ~std::uintptr_t{Waiter::kMask};
    switch (waiter->target & Waiter::kMask) {
      case Waiter::kTask: {
        auto* task = reinterpret_cast<Task*>(target);
        // acq_rel: the last one sees what the others' sealing published.
        if (task->missing.fetch_sub(1, std::memory_order_acq_rel) == 1) make_ready(task);
        break;
      }
      case Waiter::kThread:
        tell_thread(waiter, seal);
        break;
      default:
        static_cast<CallbackWaiter*>(waiter)->fire(static_cast<CallbackWaiter*>(waiter));
        break;
    }
  }
  return true;
}

void seal_task(Task* task, std::uintptr_t seal) noexcept {
  if (task->ops->seal_elements != nullptr) task->ops->seal_elements(task, seal, true);
  if (seal_object(task, seal, kRuntimeRef)) return;
  // Somebody was first; what this end brought is dropped (a failure stored early was sealed).
  if (task->failing.load(std::memory_order_relaxed) == 0) task->ops->drop(task, seal);
  leave_object(task);
}

void Engine::fail_waiting(Task* task, Object* argument) { fail_early(task, argument); }

void make_ready(Task* task) noexcept {
  ThreadContext& context = thread_context;
  const EngineScope scope(task->engine);
  Engine* engine = scope.engine();
  if (engine == nullptr) {  // Its runtime is gone.
    task->ops->release_arguments(task);
    seal_task(task, kShutdown);
    return;
  }
  if (task->failing.load(std::memory_order_acquire) != 0 && task->ops->kind == ObjectKind::task) {
    engine->complete(task, kFailed);  // It needs no worker to end.
    return;
  }
  Events::ready(task);
  if (context.wants_next && context.next_task == nullptr && context.engine == engine &&
      task->extra.load(std::memory_order_acquire) == nullptr &&
      task->ops->kind == ObjectKind::task && !task->has(kNoCpu)) {
    context.next_task = task;
    return;
  }
  engine->dispatch(task);
}

void Engine::complete(Task* task, std::uintptr_t seal) {
  const bool is_call = task->ops->kind == ObjectKind::actor_call && !task->has(kRemote);
  if (is_call) {
    seal = actor_save(task, seal);
    if (actor_retries(task, seal)) return;
  }
  if (TaskExtra* extra = task->extra.load(std::memory_order_acquire);
      extra != nullptr && extra->order != nullptr) {
    parts_->client->finished(task, seal);
  }
  if (task->has(kTraced)) [[unlikely]]
    note_end(task, seal);
  task->ops->release_arguments(task);
  if (TaskExtra* extra = task->extra.load(std::memory_order_acquire)) [[unlikely]] {
    if (extra->stoppable.load(std::memory_order_acquire)) parts_->forget_stoppable(task, *extra);
    if (const auto timer = extra->timer.exchange(0)) parts_->timers.cancel(timer);
    if (task->has(kGranted)) {
      parts_->release_demand(extra->demand);
      // What follows may wait in a user's destructor: it has nothing more to lend.
      if (thread_context.task() == task) thread_context.cpu_held = 0;
    }
  }
  seal_result(task, seal);
  // Last: sealing may have completed other calls on this thread.
  if (is_call) thread_context.finished_call = task;
}

void Engine::complete_remote(Task* task, std::uintptr_t seal) {
  if (task->has(kTraced)) note_end(task, seal);
  if (TaskExtra* extra = task->extra.load(std::memory_order_acquire)) {
    if (const auto timer = extra->timer.exchange(0)) parts_->timers.cancel(timer);
  }
  if (task->ops->kind == ObjectKind::actor_call) remote_call_ended(task);
  seal_task(task, seal);
}

void Engine::note_end(Task* task, std::uintptr_t seal) {
  const std::uintptr_t before = task->seal_state();
  const std::uintptr_t fate = before != kPending ? before : seal;
  const TaskState state = !is_failure(fate) ? TaskState::finished
                          : fate == kFailed ? TaskState::failed
                                            : TaskState::cancelled;
  const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  parts_->events.ended(task, state, extra != nullptr ? extra->name : std::string(),
                       fate == kFailed ? describe(stored_failure(task)->exception) : "");
}

void Engine::seal_result(Task* task, std::uintptr_t seal) {
  ThreadContext& context = thread_context;
  const Frame* frame = context.frame;
  context.wants_next = frame != nullptr && frame->task == task && frame->chains;
  if (frame != nullptr && frame->task == task) {
    // From here on the record may be gone, while users' destructors run in this frame.
    if (frame->id == 0) context.frame->id = task->task_id();
    context.frame->task = nullptr;
  }
  seal_task(task, seal);
  context.wants_next = false;
}

void Engine::fail(Task* task, std::exception_ptr error) {
  // An actor's method is not tried again because it threw; see actor_retries() for when it is.
  if (task->has(kRetryable) && task->ops->kind == ObjectKind::task && !task->sealed() &&
      !parts_->stopping.load(std::memory_order_relaxed)) {
    TaskExtra& extra = extra_of(task);
    const int attempt = extra.attempt.load(std::memory_order_relaxed);
    if (extra.max_retries == -1 || attempt < extra.max_retries) {
      extra.attempt.store(attempt + 1, std::memory_order_relaxed);
      Events::state(task, TaskState::pending_node);
      dispatch(task);
      return;
    }
  }
  store_failure(task, make_failure(std::move(error), task_name(task)));
  complete(task, kFailed);
}

void Engine::fail_from(Task* task, Object* argument) {
  // No fail_early can come any more: all arguments are there.
  if (task->failing.load(std::memory_order_acquire) != 0) {
    complete(task, kFailed);  // Stored by fail_early, and sealed.
    return;
  }
  store_failure(task, extend_failure(failure_of(argument), task_name(task)));
  complete(task, kFailed);
}

}  // namespace ray::detail
