// A task with its types: its arguments and its result in one record, and the ObjectOps constant
// through which the runtime below handles it without its types.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <ray/coroutine.hpp>
#include <ray/detail/cells.hpp>
#include <ray/detail/slots.hpp>
#include <ray/runtime/actor_core.hpp>

namespace ray::detail {

// --- a task's result ---

/// An ordinary result, in the record itself.
template <class R>
struct Outcome {
  using Value = std::remove_cvref_t<R>;
  static constexpr bool is_coroutine = false;
  static constexpr bool has_elements = false;
  static constexpr std::uint32_t references = kRuntimeRef + 1;  // And the caller's.
  ValueRoom<Value> place;
};

/// A tuple: each element an object of its own. The first that wants to seal them does it, all of
/// them and without the lock: moving the values and telling who waits runs users' code.
template <class... A>
struct Outcome<std::tuple<A...>> {
  static_assert(sizeof...(A) > 0, "ray: a task cannot return an empty tuple; return void");
  using Value = std::tuple<A...>;
  using Elements = std::array<Object*, sizeof...(A)>;
  static constexpr bool is_coroutine = false;
  static constexpr bool has_elements = true;
  static constexpr std::uint32_t references = kRuntimeRef;
  ValueRoom<Value> place;
  std::atomic<bool> lock{false};  // Guards what follows, between the task's end and a cancel.
  bool decided = false;           // Somebody seals the elements, or has.
  Elements elements{};            // Null once the task has ended.

  template <std::size_t... I>
  void make(ray::detail::Task* task, std::index_sequence<I...>) {
    ((elements[I] = ElementOf<std::remove_cvref_t<A>>::make(task, I)), ...);
  }
  std::tuple<ObjectRef<std::remove_cvref_t<A>>...> refs() {
    return refs(std::index_sequence_for<A...>());
  }
  void seal_all(ray::detail::Task* task, std::uintptr_t seal, bool last) noexcept {
    while (lock.exchange(true, std::memory_order_acquire)) __builtin_ia32_pause();
    const Elements mine = elements;
    const bool first = !std::exchange(decided, true);
    if (last) {
      elements.fill(nullptr);
    } else if (first) {
      // The task's end may give its references back meanwhile.
      for (Object* element : mine) retain(element);
    }
    lock.store(false, std::memory_order_release);
    const std::uint32_t weight = last ? kRuntimeRef : 1;
    if (first) {
      seal_each(mine, task, seal, weight, std::index_sequence_for<A...>());
    } else if (last) {
      for (Object* element : mine) release(element, weight);
    }
  }

private:
  template <std::size_t... I>
  auto refs(std::index_sequence<I...>) {
    return std::tuple(RefAccess::adopt<std::remove_cvref_t<A>>(elements[I])...);
  }
  template <std::size_t... I>
  void seal_each(const Elements& each, ray::detail::Task* task, std::uintptr_t seal,
                 std::uint32_t weight, std::index_sequence<I...>) {
    auto* value = static_cast<Value*>(static_cast<void*>(place.bytes));
    const auto one = [&]<class T, std::size_t N>(Object* element) {
      std::uintptr_t own = seal;
      if (seal == kFailed) {
        store_failure(element, stored_failure(task));
      } else if (seal == kValue) {
        try {
          ::new (element->value()) T(std::move(std::get<N>(*value)));
        } catch (...) {
          store_failure(element, make_failure(std::current_exception(), task->ops->name()));
          own = kFailed;
        }
      }
      seal_object(element, own, weight);
    };
    (one.template operator()<std::remove_cvref_t<A>, I>(each[I]), ...);
  }
};

/// A coroutine's result, and the coroutine while it is suspended.
template <class T>
struct Outcome<ray::Task<T>> {
  using Value = T;
  using Promise = typename ray::Task<T>::promise_type;
  static constexpr bool is_coroutine = true;
  static constexpr bool has_elements = false;
  static constexpr std::uint32_t references = kRuntimeRef + 1;
  ValueRoom<T> place;
  std::coroutine_handle<Promise> coroutine;
};

/// A generator's stream.
template <class T>
struct Outcome<ray::Generator<T>> {
  using Value = void;
  using Promise = typename ray::Generator<T>::promise_type;
  static constexpr bool is_coroutine = true;
  static constexpr bool has_elements = true;
  static constexpr std::uint32_t references = kRuntimeRef;
  ValueRoom<void> place;
  std::coroutine_handle<Promise> coroutine;
  std::atomic<bool> lock{false};  // Between the task's end and a cancel.
  StreamCore* stream = nullptr;   // Counted.

  void seal_all(ray::detail::Task* task, std::uintptr_t seal, bool last) noexcept {
    while (lock.exchange(true, std::memory_order_acquire)) __builtin_ia32_pause();
    StreamCore* core = stream;
    if (core != nullptr && !last) core->retain();
    if (last) stream = nullptr;
    lock.store(false, std::memory_order_release);
    if (core == nullptr) return;
    core->end(task, seal);
    core->release();
  }
};

/// What the API gives back for a function that returns R.
template <class R>
struct Returned {
  using type = ObjectRef<std::remove_cvref_t<R>>;
};
template <class... A>
struct Returned<std::tuple<A...>> {
  using type = std::tuple<ObjectRef<std::remove_cvref_t<A>>...>;
};
template <class T>
struct Returned<ray::Task<T>> {
  using type = ObjectRef<T>;
};
template <class T>
struct Returned<ray::Generator<T>> {
  using type = ObjectRefStream<T>;
};

// --- a task ---

/// What `f` throws, or null. What follows is not inside a catch block, which would hold the
/// exception longer than the task's object does.
template <class F>
std::exception_ptr thrown_by(F&& f) noexcept {
  try {
    f();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

template <class T>
inline constexpr bool leaf_value = std::is_void_v<T> || std::is_trivially_destructible_v<T>;

/// A task with its types. Base is Task or ActorCall; Function has name() and call(context, slots
/// handed over…); S are its argument slots.
template <class Base, class Function, class R, class... S>
struct Record final : Base {
  using Result = std::remove_cvref_t<R>;
  static_assert(is_result<Result>,
                "ray: a task's result cannot be a pointer, std::string_view or std::span, whose "
                "target may be gone: return the value, the std::string or the container");
  using Out = Outcome<Result>;
  using Value = typename Out::Value;

  /// The others are found through the runtime's tables while they run.
  static constexpr bool retires =
      std::is_same_v<Base, ray::detail::Task> && !Out::has_elements && !Out::is_coroutine;

  Out out;  // First, and its place first in it: see value_offset().
  union {
    Slots<S...> slots;
  };

  template <class... A>
  explicit Record(A&&... arguments)
      : Base(&ops, Out::references), slots(std::in_place, std::forward<A>(arguments)...) {}
  ~Record() {}
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  template <class... A>
  static Record* make(A&&... arguments) {
    struct Memory {
      void* raw = allocate_record<Record>();
      ~Memory() {
        if (raw != nullptr) free_record<Record>(raw);
      }
    } memory;
    auto* record = ::new (memory.raw) Record(std::forward<A>(arguments)...);
    memory.raw = nullptr;
    RAY_ASSERT(record->value() == static_cast<void*>(record->out.place.bytes));
    return record;
  }

  /// The caller's handles to what the task will make; once, before it is launched.
  auto returned() {
    if constexpr (!Out::has_elements) {
      return RefAccess::adopt<Value>(this);
    } else if constexpr (Out::is_coroutine) {
      out.stream = Out::Promise::make_stream(this);
      return Out::Promise::adopt_stream(out.stream);
    } else {
      out.make(this, std::make_index_sequence<std::tuple_size_v<Value>>());
      return out.refs();
    }
  }

  static void destroy(Object* object) noexcept {
    auto* self = static_cast<Record*>(object);
    drop(self, self->seal_state());
    if (TaskExtra* extra = self->extra.load(std::memory_order_relaxed)) free_extra(extra);
    self->~Record();
    free_record<Record>(self);
  }
  static void drop(Object* object, std::uintptr_t seal) noexcept {
    drop_value<Value>(object, seal);
  }
  static void release_arguments(ray::detail::Task* task) noexcept {
    auto* self = static_cast<Record*>(task);
    std::destroy_at(&self->slots);
  }
  static void arguments(ray::detail::Task* task, void (*visit)(void*, Object*), void* context) {
    static_cast<Record*>(task)->slots.for_each_ref(
        [&](auto& held, std::size_t) { visit(context, held.object); });
  }
  static void seal_elements(ray::detail::Task* task, std::uintptr_t seal, bool last) noexcept {
    if constexpr (Out::has_elements) static_cast<Record*>(task)->out.seal_all(task, seal, last);
  }

  Result call() {
    const bool again = this->has(kRetryable);
    return slots.apply(
        [again](auto&... held) -> Result { return Function::call(held.hand_over(again)...); });
  }

  static void run(ray::detail::Task* task) {
    auto* self = static_cast<Record*>(task);
    if constexpr (Out::is_coroutine) {
      run_coroutine(self);
    } else {
      Engine& engine = *thread_context.engine;
      if constexpr (Slots<S...>::ref_count != 0) {
        if (Object* failed = self->slots.failed()) {
          engine.fail_from(task, failed);
          return;
        }
      }
      std::exception_ptr error = thrown_by([&] {
        if constexpr (std::is_void_v<Result>) {
          self->call();
        } else {
          ::new (static_cast<void*>(self->out.place.bytes)) Result(self->call());
        }
      });
      if (error != nullptr) [[unlikely]] {
        engine.fail(task, std::move(error));
        return;
      }
      if constexpr (retires) {
        if (task->plain()) [[likely]] {
          std::destroy_at(&self->slots);
          if (!seal_value(task)) [[unlikely]]
            engine.seal_result(task, kValue);
          return;
        }
      }
      engine.complete(task, kValue);
    }
  }

  static void run_coroutine(Record* self) {
    Engine& engine = *current_context().engine;
    if (!self->has(kResumed)) {
      if (Object* failed = self->slots.failed()) {
        engine.fail_from(self, failed);
        return;
      }
      std::exception_ptr error = thrown_by([&] { self->out.coroutine = self->call().give_up(); });
      if (error != nullptr) {
        engine.fail(self, std::move(error));
        return;
      }
      auto& promise = self->out.coroutine.promise();
      promise.task = self;
      if constexpr (Out::has_elements) {
        promise.stream = self->out.stream;
        promise.stream->begin_again();
      }
    }
    const auto coroutine = self->out.coroutine;
    std::uintptr_t seal = kValue;
    if (self->sealed()) {  // Cancelled while it was suspended.
      seal = kCancelled;
    } else {
      current_context().frame->children = coroutine.promise().children;
      current_context().coroutine_ended = false;
      coroutine.resume();
      // Unless it ended here, it may run elsewhere by now: nothing of it may be touched.
      if (!std::exchange(current_context().coroutine_ended, false)) return;
      if (self->sealed()) seal = kCancelled;
    }
    std::exception_ptr error = std::move(coroutine.promise().error);
    const bool has_value = coroutine.promise().has_value;
    coroutine.destroy();
    self->flags &= static_cast<std::uint8_t>(~kResumed);
    if (error != nullptr) {
      engine.fail(self, std::move(error));
    } else {
      engine.complete(self, has_value ? std::uintptr_t{kValue} : seal);
    }
  }

  static constexpr std::uint32_t value_offset() {
    return (sizeof(Base) + alignof(Out) - 1) / alignof(Out) * alignof(Out);
  }
  static const ObjectOps ops;
};

template <class Base, class Function, class R, class... S>
inline constexpr ObjectOps Record<Base, Function, R, S...>::ops = {
    .destroy = destroy,
    .drop = drop,
    .value_offset = value_offset(),
    .kind = std::is_same_v<Base, ActorCall> ? ObjectKind::actor_call : ObjectKind::task,
    .retires = retires,
    .leaf = retires&& leaf_value<Value>&& Slots<S...>::is_leaf,
    .run = run,
    .release_arguments = release_arguments,
    .arguments = arguments,
    .name = Function::name,
    .seal_elements = Out::has_elements ? seal_elements : nullptr,
};

}  // namespace ray::detail
