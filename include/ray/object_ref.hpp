// ObjectRef<T>: a counted name of an immutable object that will exist.
#pragma once

#include <coroutine>
#include <type_traits>
#include <utility>

#include <ray/detail/checks.hpp>
#include <ray/ids.hpp>
#include <ray/runtime/engine.hpp>

namespace ray {

namespace detail {

/// The library's own way in and out of an ObjectRef.
struct RefAccess {
  template <class T>
  static Object* object(const ObjectRef<T>& ref) noexcept {
    return ref.object_;
  }
  /// Takes over one reference.
  template <class T>
  static ObjectRef<T> adopt(Object* object) noexcept {
    ObjectRef<T> ref;
    ref.object_ = object;
    return ref;
  }
  template <class T>
  static Object* give_up(ObjectRef<T>& ref) noexcept {
    return std::exchange(ref.object_, nullptr);
  }
};

[[noreturn]] void throw_empty_ref(const char* call);
/// Of an object that is sealed, but not with a value that lies there: makes it, if it is only
/// encoded, or throws what the object failed with.
void require_value_slow(Object* object);
[[noreturn]] void throw_circle(const CoroutineWaiter& waiter);
/// Throws what the object failed with; returns if it has a value.
inline void require_value(Object* object) {
  if (object->seal_state() != kValue) [[unlikely]]
    require_value_slow(object);
}
/// The object of a ref that must not be empty.
template <class T>
Object* object_of(const ObjectRef<T>& ref, const char* call) {
  Object* object = RefAccess::object(ref);
  if (object == nullptr) [[unlikely]]
    throw_empty_ref(call);
  return object;
}

template <class T>
const T& value_of(Object* object) noexcept {
  return *static_cast<const T*>(object->value());
}

/// Throws InvalidArgumentError for a value that can neither be copied nor moved out, since others
/// hold references to it; the ref stays. Requires: sealed with a value.
template <class T>
void require_movable(ObjectRef<T>&& ref);
template <class T>
void require_movable(const ObjectRef<T>&) noexcept {}  // One that is only looked at.
/// Out of the object by move when `ref` was the last to name it, else a copy. The ref is empty
/// after, unless it throws. Requires: sealed with a value.
template <class T>
T take_value(ObjectRef<T>& ref);

/// Calls `then(context)` once the object is sealed: on the thread that seals it, or at once.
void when_sealed(Object* object, void (*then)(void* context), void* context);

/// What ref.future() does; defined in <ray/future.hpp>, because <future> is a heavy header.
template <class Ref>
struct FutureOf {
  static_assert(
      !std::is_same_v<Ref, Ref>,
      "ray: ref.future() needs #include <ray/future.hpp>, which <ray/ray.hpp> leaves out");
};

struct PromiseBase;

/// Suspends a coroutine until an object is sealed. In a ray::Task or Generator the task is run
/// again; any other coroutine is resumed by one of the runtime's workers.
class RefAwaiterBase {
public:
  bool await_ready() const noexcept { return object_->sealed(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> coroutine) {
    if constexpr (std::is_base_of_v<PromiseBase, Promise>) {
      return coroutine.promise().suspend_for(node_, object_);
    } else {
      return suspend_foreign(coroutine);
    }
  }

protected:
  explicit RefAwaiterBase(Object* object) noexcept : object_(object) {}
  void require() const {
    if (node_.in_circle) [[unlikely]]
      throw_circle(node_);
    require_value(object_);
  }
  Object* object_;

private:
  bool suspend_foreign(std::coroutine_handle<> coroutine);
  CoroutineWaiter node_{};
};

template <class T, bool Move>
class RefAwaiter;

}  // namespace detail

/// A counted name of an immutable object that will exist. Regular; empty when default-made.
/// Lifetime: the object lives while any ref to it does; refs may outlive the runtime.
/// Threads: as std::shared_ptr: distinct refs from any threads, one ref from one at a time
/// (const access from many).
template <class T>
class ObjectRef {
public:
  using value_type = T;

  ObjectRef() noexcept = default;
  ObjectRef(const ObjectRef& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) detail::retain(object_);
  }
  ObjectRef(ObjectRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  ObjectRef& operator=(const ObjectRef& other) noexcept {
    ObjectRef copy(other);
    std::swap(object_, copy.object_);
    return *this;
  }
  ObjectRef& operator=(ObjectRef&& other) noexcept {
    ObjectRef moved(std::move(other));
    std::swap(object_, moved.object_);
    return *this;
  }
  ~ObjectRef() {
    if (object_ != nullptr) detail::release(object_);
  }

  explicit operator bool() const noexcept { return object_ != nullptr; }
  /// The same object, not the same value.
  friend bool operator==(const ObjectRef& a, const ObjectRef& b) noexcept {
    return a.object_ == b.object_;
  }

  /// None for an empty ref.
  ObjectId id() const noexcept {
    return object_ == nullptr ? ObjectId{} : ObjectId{object_->task_id()};
  }
  /// Whether `get` would return or throw at once.
  [[nodiscard]] bool is_ready() const noexcept { return object_ != nullptr && object_->sealed(); }

  /// The object as a std::future of a copy (moved when this was the last reference). Needs
  /// <ray/future.hpp>.
  template <class Ref = ObjectRef>
  [[nodiscard]] auto future() const {
    return detail::FutureOf<Ref>::of(*this);
  }

  detail::RefAwaiter<T, false> operator co_await() const&;
  detail::RefAwaiter<T, true> operator co_await() &&;

private:
  friend struct detail::RefAccess;
  detail::Object* object_ = nullptr;
};

// --- implementation ---

namespace detail {

template <class T>
void require_movable(ObjectRef<T>&& ref) {
  if constexpr (!std::is_void_v<T> && !std::is_copy_constructible_v<T>) {
    const Object* object = RefAccess::object(ref);
    if (!becomes_only_reference(object)) {
      throw InvalidArgumentError(
          "ray::get: object " + hex_id(object->task_id()) +
          " cannot be copied, and others hold references to it: use get(const ObjectRef&)");
    }
  }
}

template <class T>
T take_value(ObjectRef<T>& ref) {
  require_movable(std::move(ref));
  if constexpr (std::is_void_v<T>) {
    ref = ObjectRef<T>();
  } else {
    Object* object = RefAccess::object(ref);
    T* value = static_cast<T*>(object->value());
    if constexpr (std::is_copy_constructible_v<T>) {
      if (!is_only_reference(object)) {
        T copy(*value);
        ref = ObjectRef<T>();
        return copy;
      }
    }
    const ObjectRef<T> last = std::move(ref);
    return std::move(*value);
  }
}

template <class T>
class RefAwaiter<T, false> : public RefAwaiterBase {
public:
  explicit RefAwaiter(Object* object) : RefAwaiterBase(object) { retain(object); }
  RefAwaiter(const RefAwaiter&) = delete;
  RefAwaiter& operator=(const RefAwaiter&) = delete;
  ~RefAwaiter() { release(object_); }
  std::conditional_t<std::is_void_v<T>, void, std::add_lvalue_reference_t<const T>> await_resume() {
    this->require();
    if constexpr (!std::is_void_v<T>) return value_of<T>(object_);
  }
};

template <class T>
class RefAwaiter<T, true> : public RefAwaiterBase {
public:
  RefAwaiter(Object* object, ObjectRef<T>&& ref) : RefAwaiterBase(object), ref_(std::move(ref)) {}
  T await_resume() {
    this->require();
    return take_value(ref_);
  }

private:
  ObjectRef<T> ref_;
};

}  // namespace detail

template <class T>
detail::RefAwaiter<T, false> ObjectRef<T>::operator co_await() const& {
  return detail::RefAwaiter<T, false>(detail::object_of(*this, "co_await"));
}

template <class T>
detail::RefAwaiter<T, true> ObjectRef<T>::operator co_await() && {
  detail::Object* object = detail::object_of(*this, "co_await");
  return detail::RefAwaiter<T, true>(object, std::move(*this));
}

}  // namespace ray

template <class T>
struct std::hash<ray::ObjectRef<T>> {
  std::size_t operator()(const ray::ObjectRef<T>& ref) const noexcept {
    return std::hash<void*>()(ray::detail::RefAccess::object(ref));
  }
};
