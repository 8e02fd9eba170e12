// The records behind ObjectRefs with their types: a stored value (Cell), one of several results
// (ElementOf), and a task with its arguments and result (Record). Each has one ObjectOps constant,
// through which the runtime below handles it without its types.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <ray/coroutine.hpp>
#include <ray/detail/slots.hpp>
#include <ray/runtime/actor_core.hpp>

namespace ray::detail {

/// Memory for an object of `Record`, from the slab where its alignment allows.
template <class R>
void* allocate_record() {
  if constexpr (alignof(R) <= kSlabGranule) {
    return slab_allocate(sizeof(R));
  } else {
    return ::operator new(sizeof(R), std::align_val_t(alignof(R)));
  }
}
template <class R>
void free_record(void* memory) noexcept {
  if constexpr (alignof(R) <= kSlabGranule) {
    slab_free(memory, sizeof(R));
  } else {
    ::operator delete(memory, std::align_val_t(alignof(R)));
  }
}

/// Room for a T or a failure.
template <class T>
struct Place {
  static constexpr std::size_t size = std::max(sizeof(T), sizeof(void*));
  static constexpr std::size_t align = std::max(alignof(T), alignof(void*));
  alignas(align) std::byte bytes[size];
};
template <>
struct Place<void> {
  alignas(void*) std::byte bytes[sizeof(void*)];
};

template <class T>
void drop_value(Object* object, std::uintptr_t seal) noexcept {
  if (seal == kFailed) {
    drop_failure(object);
  } else if (seal == kValue) {
    if constexpr (!std::is_void_v<T>) std::destroy_at(static_cast<T*>(object->value()));
  }
}

/// The ops of an object that is no task: its value in `R::place`.
template <class R, class T>
constexpr ObjectOps value_ops(ObjectKind kind, void (*destroy)(Object*) noexcept) {
  return {.destroy = destroy,
          .drop = drop_value<T>,
          .value_offset = R::value_offset(),
          .kind = kind,
          .run = nullptr,
          .release_arguments = nullptr,
          .arguments = nullptr,
          .name = nullptr,
          .seal_elements = nullptr};
}

// --- a stored value ---

template <class T>
struct Cell final : Object {
  Place<T> place;

  Cell(std::uint64_t parent_id, std::uint32_t child_index, std::uintptr_t seal)
      : Object(&ops, 1, parent_id, child_index, seal) {}

  template <class... Args>
  static Cell* make(std::pair<std::uint64_t, std::uint32_t> identity, Args&&... args) {
    struct Memory {  // Until the value stands.
      void* raw = allocate_record<Cell>();
      ~Memory() {
        if (raw != nullptr) free_record<Cell>(raw);
      }
    } memory;
    auto* cell = ::new (memory.raw) Cell(identity.first, identity.second, kValue);
    ::new (static_cast<void*>(cell->place.bytes)) T(std::forward<Args>(args)...);
    memory.raw = nullptr;
    return cell;
  }
  static constexpr std::uint32_t value_offset() {
    return (sizeof(Object) + Place<T>::align - 1) / Place<T>::align * Place<T>::align;
  }
  static void destroy(Object* object) noexcept {
    auto* cell = static_cast<Cell*>(object);
    drop_value<T>(cell, cell->seal_state());
    cell->~Cell();
    free_record<Cell>(cell);
  }
  static constexpr ObjectOps ops = value_ops<Cell, T>(ObjectKind::cell, destroy);
};

// --- one of several results, or of a stream's items ---

template <class T>
struct ElementOf final : Element {
  Place<T> place;

  ElementOf(ray::detail::Task* task, std::uint32_t position) : Element(&ops, task, position) {}

  static ElementOf* make(ray::detail::Task* task, std::uint32_t position) {
    void* memory = allocate_record<ElementOf>();
    retain(task);
    return ::new (memory) ElementOf(task, position);
  }
  static constexpr std::uint32_t value_offset() {
    return (sizeof(Element) + Place<T>::align - 1) / Place<T>::align * Place<T>::align;
  }
  static void destroy(Object* object) noexcept {
    auto* element = static_cast<ElementOf*>(object);
    drop_value<T>(element, element->seal_state());
    ray::detail::Task* task = element->producer;
    element->~ElementOf();
    free_record<ElementOf>(element);
    release(task);
  }
  static constexpr ObjectOps ops = value_ops<ElementOf, T>(ObjectKind::element, destroy);
};

/// Seals an element with what sealed its task; `value` makes the value where there is one. The
/// `last` time the task's reference to it is given back.
template <class T, class Make>
void seal_element(Object* element, std::uintptr_t seal, bool last, ray::detail::Task* task,
                  Make&& value) {
  const std::uint32_t references = last ? kRuntimeRef : 0;
  if (!element->sealed()) {
    if (seal == kValue) {
      ::new (element->value()) T(value());
    } else if (seal == kFailed) {
      store_failure(element, stored_failure(task));
    }
    if (seal_object(element, seal, references)) return;
    drop_value<T>(element, seal);
  }
  if (last) release(element, references);
}

// --- a task's result ---

/// An ordinary result, in the record itself.
template <class R>
struct Outcome {
  using Value = std::remove_cvref_t<R>;
  static constexpr bool is_coroutine = false;
  static constexpr bool has_elements = false;
  static constexpr std::uint32_t references = kRuntimeRef + 1;  // And the caller's.
  Place<Value> place;
};

/// A tuple: each element an object of its own.
template <class... A>
struct Outcome<std::tuple<A...>> {
  static_assert(sizeof...(A) > 0, "ray: a task cannot return an empty tuple; return void");
  using Value = std::tuple<A...>;
  static constexpr bool is_coroutine = false;
  static constexpr bool has_elements = true;
  static constexpr std::uint32_t references = kRuntimeRef;
  Place<Value> place;
  std::atomic<bool> lock{false};  // Between the task's end and a cancel.
  std::array<Object*, sizeof...(A)> elements{};

  template <std::size_t... I>
  void make(ray::detail::Task* task, std::index_sequence<I...>) {
    ((elements[I] = ElementOf<std::remove_cvref_t<A>>::make(task, I)), ...);
  }
  std::tuple<ObjectRef<std::remove_cvref_t<A>>...> refs() {
    return refs(std::index_sequence_for<A...>());
  }
  void seal_all(ray::detail::Task* task, std::uintptr_t seal, bool last) noexcept {
    while (lock.exchange(true, std::memory_order_acquire)) __builtin_ia32_pause();
    auto* value = static_cast<Value*>(static_cast<void*>(place.bytes));
    seal_each(task, seal, last, value, std::index_sequence_for<A...>());
    if (last) elements.fill(nullptr);
    lock.store(false, std::memory_order_release);
  }

 private:
  template <std::size_t... I>
  auto refs(std::index_sequence<I...>) {
    return std::tuple(RefAccess::adopt<std::remove_cvref_t<A>>(elements[I])...);
  }
  template <std::size_t... I>
  void seal_each(ray::detail::Task* task, std::uintptr_t seal, bool last, Value* value,
                 std::index_sequence<I...>) {
    const auto one = [&]<class T, std::size_t N>(Object* element) {
      if (element == nullptr) return;
      seal_element<T>(element, seal, last, task,
                      [&]() -> T { return std::move(std::get<N>(*value)); });
    };
    (one.template operator()<std::remove_cvref_t<A>, I>(elements[I]), ...);
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
  Place<T> place;
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
  Place<void> place;
  std::coroutine_handle<Promise> coroutine;
  StreamCore* stream = nullptr;

  void seal_all(ray::detail::Task* task, std::uintptr_t seal, bool last) noexcept {
    if (stream == nullptr) return;
    stream->end(task, seal);
    if (last) std::exchange(stream, nullptr)->release();
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

/// A task with its types. Base is Task or ActorCall; Function has name() and call(context, slots
/// handed over…); S are its argument slots.
template <class Base, class Function, class R, class... S>
struct Record final : Base {
  using Result = std::remove_cvref_t<R>;
  static_assert(!is_data_pointer<Result>,
                "ray: a task's result cannot be a pointer, whose target may be gone: return the "
                "value");
  using Out = Outcome<Result>;
  using Value = typename Out::Value;

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
  static void drop(Object* object, std::uintptr_t seal) noexcept { drop_value<Value>(object, seal); }
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
    return slots.apply([again](auto&... held) -> Result {
      return Function::call(held.hand_over(again)...);
    });
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
      try {
        if constexpr (std::is_void_v<Result>) {
          self->call();
        } else {
          ::new (task->value()) Result(self->call());
        }
      } catch (...) {
        engine.fail_current(task);
        return;
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
      try {
        self->out.coroutine = self->call().give_up();
      } catch (...) {
        engine.fail_current(self);
        return;
      }
      auto& promise = self->out.coroutine.promise();
      promise.task = self;
      if constexpr (Out::has_elements) promise.stream = self->out.stream;
    }
    const auto coroutine = self->out.coroutine;
    std::uintptr_t seal = kValue;
    if (self->sealed()) {  // Cancelled while it was suspended.
      seal = kCancelled;
    } else {
      current_context().children = coroutine.promise().children;
      current_context().coroutine_ended = false;
      coroutine.resume();
      // Unless it ended here, it may run elsewhere by now: nothing of it may be touched.
      if (!std::exchange(current_context().coroutine_ended, false)) return;
      if (self->sealed()) seal = kCancelled;
    }
    const std::exception_ptr error = coroutine.promise().error;
    const bool has_value = coroutine.promise().has_value;
    coroutine.destroy();
    self->flags &= static_cast<std::uint8_t>(~kResumed);
    if (error != nullptr) {
      try {
        std::rethrow_exception(error);
      } catch (...) {
        engine.fail_current(self);
      }
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
    .run = run,
    .release_arguments = release_arguments,
    .arguments = arguments,
    .name = Function::name,
    .seal_elements = Out::has_elements ? seal_elements : nullptr,
};

}  // namespace ray::detail
