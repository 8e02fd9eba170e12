// What an ObjectRef needs besides its count: errors, callbacks, coroutines that are not tasks.
#include <ray/object_ref.hpp>

#include "runtime/circles.hpp"

namespace ray::detail {

void throw_empty_ref(const char* call) {
  throw InvalidArgumentError("ray: " + std::string(call) +
                             ": the ObjectRef is empty (default-made or moved from)");
}

void require_value_slow(Object* object) {
  if (!has_value(object)) std::rethrow_exception(failure_of(object)->exception);
}

void throw_circle(const CoroutineWaiter& waiter) {
  const TaskExtra* extra = waiter.task->extra.load(std::memory_order_acquire);
  const bool ordered = extra != nullptr && extra->order != nullptr;
  throw DeadlockError(ordered ? extra->order->circle : circle_message(waiter.task, waiter.awaited));
}

namespace {

struct FunctionWaiter : CallbackWaiter {
  void (*then)(void* context);
  void* context;
};

/// Resumes a coroutine of the user's own on a worker.
struct Resumption : Task {
  using Task::Task;
  std::coroutine_handle<> coroutine;
};

void run_resumption(Task* task) {
  const auto coroutine = static_cast<Resumption*>(task)->coroutine;
  release(task);
  // It is no task of ours: inside it the thread is a driver of this runtime.
  Frame* const frame = current_context().frame;
  if (frame != nullptr) frame->task = nullptr;
  coroutine.resume();
}

constexpr ObjectOps kResumptionOps = {
    .destroy =
        [](Object* object) noexcept {
          static_cast<Resumption*>(object)->~Resumption();
          slab_free(object, sizeof(Resumption));
        },
    .drop = [](Object*, std::uintptr_t) noexcept {},
    .value_offset = 0,
    .kind = ObjectKind::task,
    .retires = false,
    .leaf = false,
    .run = run_resumption,
    .release_arguments = [](Task*) noexcept {},
    .arguments = [](Task*, void (*)(void*, Object*), void*) {},
    .name = []() -> std::string_view { return "coroutine"; },
    .seal_elements = nullptr,
    .codec = nullptr,
};

}  // namespace

void when_sealed(Object* object, void (*then)(void*), void* context) {
  auto waiter = std::make_unique<FunctionWaiter>();
  waiter->then = then;
  waiter->context = context;
  waiter->target = reinterpret_cast<std::uintptr_t>(waiter.get()) | Waiter::kCallback;
  waiter->fire = [](CallbackWaiter* node) {
    const std::unique_ptr<FunctionWaiter> owner(static_cast<FunctionWaiter*>(node));
    owner->then(owner->context);
  };
  if (add_waiter(object, waiter.get())) {
    waiter.release();
  } else {
    then(context);
  }
}

bool RefAwaiterBase::suspend_foreign(std::coroutine_handle<> coroutine) {
  const Task* producer = producer_of(object_);
  const EngineScope scope(producer != nullptr ? producer->engine : 0);
  const Engine* engine = scope.engine();
  if (engine == nullptr) return !object_->sealed();
  auto* resumption = ::new (slab_allocate(sizeof(Resumption))) Resumption(&kResumptionOps, 1);
  resumption->engine = engine->index();
  resumption->flags = kInternal | kNoCpu;
  resumption->coroutine = coroutine;
  node_.task = resumption;
  node_.target = reinterpret_cast<std::uintptr_t>(&node_) | Waiter::kCallback;
  node_.fire = [](CallbackWaiter* node) {
    Task* task = static_cast<CoroutineWaiter*>(node)->task;
    const EngineScope home_scope(task->engine);
    if (Engine* home = home_scope.engine()) {
      home->enqueue_errand(task);
    } else {
      run_resumption(task);
    }
  };
  if (add_waiter(object_, &node_)) return true;
  release(resumption);
  return false;
}

}  // namespace ray::detail
