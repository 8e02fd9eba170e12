// Coroutines as tasks: Task<T> may co_await refs and holds no worker while it waits; Generator<T>
// co_yields items into a stream that its caller reads while it runs.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

#include <ray/object_ref.hpp>

namespace ray {

template <class T>
class ObjectRefStream;

namespace detail {

using TaskRecord = struct Task;

/// What the promises of Task and Generator share.
struct PromiseBase {
  TaskRecord* task = nullptr;
  std::exception_ptr error;
  std::uint32_t children = 0;  // Of the task's identity: goes on counting after a suspension.
  bool has_value = false;

  std::suspend_always initial_suspend() const noexcept { return {}; }
  struct Final {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {
      current_context().coroutine_ended = true;
    }
    void await_resume() const noexcept {}
  };
  Final final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { error = std::current_exception(); }

  /// See Engine::suspend. `node` lies in the coroutine's frame.
  bool suspend_for(CoroutineWaiter& node, Object* awaited) {
    ThreadContext& context = current_context();
    children = context.frame->children;
    node.awaited = awaited;
    node.task = task;
    return context.engine->suspend(node);
  }
};

/// A coroutine object that owns its frame until the runtime takes it.
template <class Promise>
class CoroutineOwner {
public:
  explicit CoroutineOwner(std::coroutine_handle<Promise> handle) noexcept : handle_(handle) {}
  CoroutineOwner(CoroutineOwner&& other) noexcept : handle_(other.give_up()) {}
  CoroutineOwner& operator=(CoroutineOwner&&) = delete;
  ~CoroutineOwner() {
    if (handle_) handle_.destroy();
  }
  std::coroutine_handle<Promise> give_up() noexcept { return std::exchange(handle_, {}); }

private:
  std::coroutine_handle<Promise> handle_;
};

template <class T>
struct TaskPromise : PromiseBase {
  ray::Task<T> get_return_object() noexcept;
  template <class U = T>
  void return_value(U&& value) {
    ::new (task->value()) T(std::forward<U>(value));
    has_value = true;
  }
};
template <>
struct TaskPromise<void> : PromiseBase {
  ray::Task<void> get_return_object() noexcept;
  void return_void() noexcept { has_value = true; }
};

/// The items of a generator between it and its reader. Counted: the task's and the reader's.
/// Invariant: `items` ends with one pending item, the next to come, until the stream has ended.
class StreamCore {
public:
  /// `make_item` makes a pending item with two references: the reader's and the generator's.
  StreamCore(TaskRecord* task, Object* (*make_item)(TaskRecord*, std::uint32_t));

  void retain() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;

  /// The item that comes next, pending or not, with a reference; null after the end.
  Object* front();
  /// Takes the front item off, which is sealed; lets the generator go on if it had paused.
  void pop();
  /// Generator only: the pending item, to be given its value.
  Object* tail() noexcept { return tail_; }
  /// Generator only: seals the tail, which has its value now. True if the coroutine shall pause
  /// (it is suspended through `node`) or end (`coroutine_ended` is set).
  bool push(CoroutineWaiter& node, PromiseBase& promise);
  /// Generator only, at the start of another try: what has been given before is not given again.
  void begin_again() noexcept;
  /// Ends the stream: an error is its last item. May come twice (a cancel, then the task's end).
  void end(TaskRecord* task, std::uintptr_t seal) noexcept;
  /// The reader has gone: the task is cancelled.
  void abandon() noexcept;

  // Where the generator runs in another process than its reader.
  /// Reader's side: an item came, encoded in the tail's place. False if nobody will read it.
  bool arrive();
  /// Generator's side: the reader has taken so many items in all.
  void credit(std::uint32_t items) noexcept;

private:
  bool send(CoroutineWaiter& node, PromiseBase& promise);

  struct Items;  // What both sides touch, under a lock; in src/runtime/stream.cpp.
  ~StreamCore();

  TaskRecord* const task_;  // Alive until end() was called.
  Object* (*const make_item_)(TaskRecord*, std::uint32_t);
  const std::size_t limit_;
  std::atomic<std::uint32_t> refs_{2};
  Object* tail_;               // The generator's.
  std::uint32_t made_ = 0;     // Guarded as `items` are: a cancel makes the last one.
  std::uint32_t repeats_ = 0;  // The generator's: items to come that an earlier try gave.
  Items* const items_;
};

template <class T>
struct ElementOf;

template <class T>
struct GeneratorPromise : PromiseBase {
  StreamCore* stream = nullptr;

  ray::Generator<T> get_return_object() noexcept;
  void return_void() noexcept { has_value = true; }

  struct Yield {
    GeneratorPromise& promise;
    CoroutineWaiter node{};
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) { return promise.stream->push(node, promise); }
    void await_resume() const noexcept {}
  };
  template <class U = T>
  Yield yield_value(U&& value) {
    ::new (stream->tail()->value()) T(std::forward<U>(value));
    return Yield{*this};
  }

  static Object* make_item(TaskRecord* task, std::uint32_t position) {
    return ElementOf<T>::make(task, position);
  }
  static StreamCore* make_stream(TaskRecord* task) { return new StreamCore(task, &make_item); }
  static ObjectRefStream<T> adopt_stream(StreamCore* core) { return ObjectRefStream<T>(core); }
};

}  // namespace detail

/// What a coroutine that runs as a task (or as an actor's method) returns. Inside, `co_await ref`
/// suspends it without holding a worker; `co_return` gives the result.
template <class T = void>
class [[nodiscard]] Task : public detail::CoroutineOwner<detail::TaskPromise<T>> {
public:
  using promise_type = detail::TaskPromise<T>;
  using detail::CoroutineOwner<promise_type>::CoroutineOwner;
};

/// What a coroutine returns that `co_yield`s a stream of T.
template <class T>
class [[nodiscard]] Generator : public detail::CoroutineOwner<detail::GeneratorPromise<T>> {
public:
  using promise_type = detail::GeneratorPromise<T>;
  using detail::CoroutineOwner<promise_type>::CoroutineOwner;
};

/// The refs of what a Generator<T> task yields, in order, while it runs: an input range, for one
/// reader. The task pauses while TaskOptions::generator_backpressure items are unread, and is
/// cancelled when the stream is dropped. If it throws, the last ref is the error. Move-only.
template <class T>
class [[nodiscard]] ObjectRefStream {
public:
  class iterator {
  public:
    using value_type = ObjectRef<T>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    explicit iterator(ObjectRefStream* stream) : stream_(stream) { ++*this; }
    const ObjectRef<T>& operator*() const { return *current_; }
    const ObjectRef<T>* operator->() const { return &*current_; }
    iterator& operator++() {
      current_ = stream_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& it, std::default_sentinel_t) { return !it.current_; }

  private:
    ObjectRefStream* stream_ = nullptr;
    std::optional<ObjectRef<T>> current_;
  };

  ObjectRefStream() = default;
  ObjectRefStream(ObjectRefStream&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  ObjectRefStream& operator=(ObjectRefStream&& other) noexcept {
    ObjectRefStream moved(std::move(other));
    std::swap(core_, moved.core_);
    return *this;
  }
  ~ObjectRefStream() {
    if (core_ == nullptr) return;
    core_->abandon();
    core_->release();
  }

  /// Waits for the next item; none when the stream has ended.
  std::optional<ObjectRef<T>> next() {
    detail::Object* item = core_ == nullptr ? nullptr : core_->front();
    if (item == nullptr) return std::nullopt;
    ObjectRef<T> ref = detail::RefAccess::adopt<T>(item);
    // Not by helping: that would run the generator on, past the item that is waited for.
    detail::Engine::wait_many(&item, 1, 1, false, nullptr);
    if (item->seal_state() == detail::kStreamEnd) return std::nullopt;
    core_->pop();
    return ref;
  }
  iterator begin() { return iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

private:
  friend struct detail::GeneratorPromise<T>;
  explicit ObjectRefStream(detail::StreamCore* core) noexcept : core_(core) {}
  detail::StreamCore* core_ = nullptr;
};

namespace detail {
template <class T>
ray::Task<T> TaskPromise<T>::get_return_object() noexcept {
  return ray::Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline ray::Task<void> TaskPromise<void>::get_return_object() noexcept {
  return ray::Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
template <class T>
ray::Generator<T> GeneratorPromise<T>::get_return_object() noexcept {
  return ray::Generator<T>(std::coroutine_handle<GeneratorPromise>::from_promise(*this));
}
}  // namespace detail

}  // namespace ray
