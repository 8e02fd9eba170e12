// The stream between a generator and its reader: see StreamCore.
#include <ray/coroutine.hpp>

#include "runtime/parts.hpp"

namespace ray::detail {

struct StreamCore::Items {
  std::mutex mutex;
  std::deque<Object*> queue;  // Guarded by mutex, as are the others.
  bool paused = false;
  bool ended = false;
  // Where the generator runs in another process.
  std::uint32_t taken = 0;  // Items that the reader took.
  std::uint32_t told = 0;   // As the generator knows, or as it was told.
};

StreamCore::StreamCore(TaskRecord* task, Object* (*make_item)(TaskRecord*, std::uint32_t))
    : task_(task),
      make_item_(make_item),
      limit_(Engine::backpressure_of(task)),
      tail_(make_item(task, 0)),
      items_(new Items) {
  items_->queue.push_back(tail_);
}

StreamCore::~StreamCore() {
  for (Object* item : items_->queue) detail::release(item);
  detail::release(tail_, kRuntimeRef);
  delete items_;
}

void StreamCore::release() noexcept {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

Object* StreamCore::front() {
  const std::lock_guard lock(items_->mutex);
  if (items_->queue.empty()) return nullptr;
  detail::retain(items_->queue.front());
  return items_->queue.front();
}

void StreamCore::pop() {
  Object* item = nullptr;
  TaskRecord* wake = nullptr;
  TaskRecord* tell = nullptr;
  std::uint32_t taken = 0;
  {
    const std::lock_guard lock(items_->mutex);
    item = items_->queue.front();
    items_->queue.pop_front();
    taken = ++items_->taken;
    if (!items_->ended && task_->has(kRemote) && taken - items_->told > limit_ / 4) {
      items_->told = taken;
      tell = task_;
      detail::retain(tell);
    }
    if (items_->paused && !items_->ended && items_->queue.size() <= limit_ / 2 + 1) {
      items_->paused = false;
      wake = task_;
      detail::retain(wake);
    }
  }
  detail::release(item);
  if (tell != nullptr) {
    const EngineScope scope(tell->engine);
    if (Engine* engine = scope.engine()) engine->parts().client->consumed(tell, taken);
    detail::release(tell);
  }
  if (wake != nullptr) {
    const EngineScope scope(wake->engine);
    if (Engine* engine = scope.engine()) engine->wake_suspended(wake);
    detail::release(wake);
  }
}

bool StreamCore::push(CoroutineWaiter& node, PromiseBase& promise) {
  if (repeats_ > 0) {
    --repeats_;
    tail_->ops->drop(tail_, kValue);
    return false;
  }
  const TaskExtra* extra = task_->extra.load(std::memory_order_acquire);
  if (extra != nullptr && extra->order != nullptr) return send(node, promise);
  // Once the lock is gone the generator may go on elsewhere, end, and be forgotten.
  refs_.fetch_add(1, std::memory_order_relaxed);
  bool leaves = false;
  Object* item = nullptr;
  {
    const std::lock_guard lock(items_->mutex);
    if (!items_->ended) {
      items_->queue.push_back(make_item_(task_, ++made_));
      item = std::exchange(tail_, items_->queue.back());
    }
  }
  // Without the lock: sealing tells who waits, dropping destroys a user's value.
  if (item == nullptr) {  // Cancelled: nobody will read it.
    tail_->ops->drop(tail_, kValue);
    current_context().coroutine_ended = true;
    leaves = true;
  } else {
    seal_object(item, kValue, kRuntimeRef);
    const std::lock_guard lock(items_->mutex);
    if (!items_->ended && items_->queue.size() > limit_) {
      items_->paused = true;
      leaves = promise.suspend_for(node, nullptr);
    }
  }
  release();
  return leaves;
}

bool StreamCore::send(CoroutineWaiter& node, PromiseBase& promise) {
  refs_.fetch_add(1, std::memory_order_relaxed);  // As in push().
  bool leaves = false;
  if (task_->sealed()) {  // Cancelled: nobody will read it.
    current_context().coroutine_ended = true;
    leaves = true;
  } else {
    const EngineScope scope(task_->engine);
    scope.engine()->parts().client->yielded(task_, tail_, made_);
    const std::lock_guard lock(items_->mutex);
    ++made_;
    if (made_ >= items_->told + limit_) {  // Another try is behind what the reader took.
      items_->paused = true;
      leaves = promise.suspend_for(node, nullptr);
    }
  }
  tail_->ops->drop(tail_, kValue);
  release();
  return leaves;
}

void StreamCore::credit(std::uint32_t items) noexcept {
  TaskRecord* wake = nullptr;
  {
    const std::lock_guard lock(items_->mutex);
    if (items > items_->told) items_->told = items;
    if (items_->paused && made_ <= items_->told + limit_ / 2 + 1) {
      items_->paused = false;
      wake = task_;
      detail::retain(wake);
    }
  }
  if (wake == nullptr) return;
  const EngineScope scope(wake->engine);
  if (Engine* engine = scope.engine()) engine->wake_suspended(wake);
  detail::release(wake);
}

bool StreamCore::arrive() {
  Object* item = nullptr;
  {
    const std::lock_guard lock(items_->mutex);
    if (items_->ended) return false;
    items_->queue.push_back(make_item_(task_, ++made_));
    item = std::exchange(tail_, items_->queue.back());
  }
  seal_object(item, kEncoded, kRuntimeRef);
  return true;
}

void StreamCore::begin_again() noexcept {
  const std::lock_guard lock(items_->mutex);
  repeats_ = items_->ended ? 0 : made_;
}

void StreamCore::end(TaskRecord* task, std::uintptr_t seal) noexcept {
  Object* last = nullptr;  // Kept by the generator's reference, which goes with the stream.
  Object* end = nullptr;
  {
    const std::lock_guard lock(items_->mutex);
    if (std::exchange(items_->ended, true)) return;
    last = items_->queue.back();
    if (is_failure(seal)) {
      end = make_item_(task, ++made_);
      items_->queue.push_back(end);
    }
  }
  // Without the lock, for what it leads to.
  if (end == nullptr) {
    seal_object(last, kStreamEnd);
    return;
  }
  if (seal == kFailed) store_failure(last, stored_failure(task));
  seal_object(last, seal);
  seal_object(end, kStreamEnd, kRuntimeRef);
}

void StreamCore::abandon() noexcept {
  TaskRecord* task = nullptr;
  {
    const std::lock_guard lock(items_->mutex);
    if (items_->ended) return;
    task = task_;
    detail::retain(task);
  }
  Engine::cancel(task, {});
  detail::release(task);
}

}  // namespace ray::detail
