// A task with its types: its arguments and its result in one record, and the ObjectOps constant
// through which the runtime below handles it without its types.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <ray/detail/outcomes.hpp>
#include <ray/detail/slots.hpp>
#include <ray/runtime/actor_core.hpp>

namespace ray::detail {

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

  Record(InputArchive& in, Needs& needs) : Base(&ops, Out::references), slots(in, needs) {}

  template <class... A>
  static Record* make(A&&... arguments) {
    static_cast<void>(&type);  // Mentioned, it enters the function table.
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

  // As bytes.
  static ray::detail::Task* make_from(InputArchive& in, Needs& needs) { return make(in, needs); }
  static void write_arguments(OutputArchive& out, ray::detail::Task* task) {
    static_cast<Record*>(task)->slots.apply(
        [&](const auto&... held) { (write_slot(out, held), ...); });
  }
  static void write(OutputArchive& out, Object* object, std::uint32_t part) {
    if constexpr (!Out::has_elements) {
      write_value_of<Value>(out, object);
    } else if constexpr (!Out::is_coroutine) {
      const auto& all = *static_cast<const Value*>(object->value());
      const auto write_part = [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((part == I ? out(std::get<I>(all)) : out()), ...);
      };
      write_part(std::make_index_sequence<std::tuple_size_v<Value>>());
    }
  }
  static void read(InputArchive& in, Object* object) {
    if constexpr (!Out::has_elements) read_value_of<Value>(in, object);
  }
  static constexpr std::uint32_t results() {
    if constexpr (!Out::has_elements) {
      return 0;
    } else if constexpr (Out::is_coroutine) {
      return ~std::uint32_t{0};
    } else {
      return std::tuple_size_v<Value>;
    }
  }

  static Object* element(ray::detail::Task* task, std::uint32_t part) {
    if constexpr (Out::has_elements && !Out::is_coroutine) {
      return static_cast<Record*>(task)->out.elements[part];
    } else {
      return nullptr;
    }
  }

  static StreamCore* stream(ray::detail::Task* task, bool make) {
    if constexpr (Out::has_elements && Out::is_coroutine) {
      auto& out = static_cast<Record*>(task)->out;
      if (make) {
        out.stream = Out::Promise::make_stream(task);
        out.stream->release();  // The reader's: it is elsewhere.
      }
      return out.stream;
    } else {
      return nullptr;
    }
  }

  static const RecordType type;
  static const ObjectCodec codec;
  static const ObjectOps ops;
};

template <class Base, class Function, class R, class... S>
inline const RecordType Record<Base, Function, R, S...>::type(typeid(Record), Function::name,
                                                              make_from);
template <class Base, class Function, class R, class... S>
inline constexpr ObjectCodec Record<Base, Function, R, S...>::codec = {
    .write = write,
    .read = read,
    .results = results(),
    .write_arguments = write_arguments,
    .element = element,
    .stream = stream,
    .type = &type,
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
    .codec = &codec,
    .constant = Function::constant,
};

}  // namespace ray::detail
