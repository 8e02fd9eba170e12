// put, get, wait, cancel: what one does with objects once they have a name.
#pragma once

#include <chrono>
#include <concepts>
#include <iterator>
#include <memory>  // std::reference_wrapper too, in libstdc++: <functional> costs 20,000 lines.
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <ray/detail/records.hpp>
#include <ray/error.hpp>
#include <ray/object_ref.hpp>
#include <ray/options.hpp>

#if !defined(__GLIBCXX__)
#include <functional>
#endif

namespace ray {

/// What wait() found; both in the order of the refs it was given.
template <class T>
struct WaitResult {
  std::vector<ObjectRef<T>> ready;
  std::vector<ObjectRef<T>> pending;
};

namespace detail {

template <class R>
using RangeElement = std::remove_cvref_t<decltype(*std::begin(std::declval<R&>()))>;
template <class R>
concept RefRange = requires(R& range) {
  std::begin(range);
  std::end(range);
  requires is_object_ref<RangeElement<R>>;
};

/// Whether a range only looks at references that others own: a std::span, a std::views::….
template <class R>
inline constexpr bool is_view =
    std::ranges::enable_view<R> || std::ranges::enable_borrowed_range<R>;

/// Of an argument R&&: whether the range is given up, and its references with it.
template <class R>
inline constexpr bool is_owned =
    !std::is_lvalue_reference_v<R> && !std::is_const_v<R> && !is_view<std::remove_cvref_t<R>>;

/// A value in a tuple or vector of values: void is std::monostate.
template <class T>
using Regular = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// What get(range) holds for each T.
template <class T, bool Owned>
using Gotten = std::conditional_t<std::is_copy_constructible_v<T> || Owned, T,
                                  std::reference_wrapper<const T>>;

inline Clock::time_point deadline_after(Timeout timeout) {
  if (timeout.count() < 0) {
    const std::string given = timeout == Timeout::min() ? std::string("no number, or far below 0")
                                                        : std::to_string(timeout.count()) + " ns";
    throw InvalidArgumentError("ray: timeout = " + given +
                               ": must not be negative; 0 looks without waiting, and without "
                               "a timeout the call waits for as long as it takes");
  }
  const auto now = Clock::now();
  if (timeout >= Clock::time_point::max() - now) return Clock::time_point::max();
  return now + timeout;
}

[[noreturn]] void throw_get_timeout(Object* object, Timeout timeout);

inline void await_value(Object* object) {
  std::uintptr_t seal = object->seal_state();
  if (seal == kPending) seal = Engine::await(object);
  if (seal != kValue) [[unlikely]]
    require_value_slow(object);
}

/// Waits for all; throws the first failure as soon as it is known. In batches, so that the last
/// of many wakes this thread once.
template <class Refs>
void await_all(const Refs& refs, std::optional<Timeout> timeout) {
  std::optional<Clock::time_point> deadline;
  if (timeout) deadline = deadline_after(*timeout);
  constexpr std::size_t kBatch = 256;
  Object* batch[kBatch];
  std::size_t size = 0;
  const auto flush = [&] {
    // By helping, as a single get does; what runs elsewhere by then, together.
    if (size > 0 && !deadline) Engine::help_with(batch, size);
    if (size > 0 && !Engine::wait_many(batch, size, size, true, deadline ? &*deadline : nullptr)) {
      for (std::size_t i = 0; i < size; ++i) {
        if (batch[i]->sealed()) require_value(batch[i]);
      }
      if (deadline) throw_get_timeout(batch[size - 1], *timeout);
    }
    for (std::size_t i = 0; i < size; ++i) require_value(batch[i]);
    size = 0;
  };
  for (const auto& ref : refs) {
    Object* object = object_of(ref, "get");
    const std::uintptr_t state = object->seal_state();
    if (state == kValue) continue;
    if (state != kPending) {
      require_value_slow(object);
      continue;
    }
    batch[size++] = object;
    if (size == kBatch) flush();
  }
  flush();
}

template <class T>
decltype(auto) regular_value(const ObjectRef<T>& ref) {
  if constexpr (std::is_void_v<T>) {
    return std::monostate();
  } else {
    return static_cast<const T&>(value_of<T>(RefAccess::object(ref)));
  }
}
template <class T>
Regular<T> regular_value(ObjectRef<T>&& ref) {
  if constexpr (std::is_void_v<T>) {
    return std::monostate();
  } else {
    return take_value(ref);
  }
}

/// Of a value that its owner keeps: straight into the store that processes share. Null where there
/// is none, or where the value is too small for it.
template <class Value>
Object* put_copy(Engine& engine, const Value& value) {
  if (!engine.is_remote()) return nullptr;
  Object* cell = Cell<Value>::make_encoded(engine.next_identity());
  const auto write = [](OutputArchive& out, const void* from) {
    write_whole(out, *static_cast<const Value*>(from));
  };
  if (engine.put_encoded(cell, &value, write)) return cell;
  release(cell);
  return nullptr;
}

template <class Value, class From>
ObjectRef<Value> put_value(Engine& engine, From&& value) {
  static_assert(
      !is_borrowed<Value>,
      "ray: put of a pointer, std::string_view or std::span, whose target may be gone: put "
      "the value, the std::string or the container");
  static_assert(!is_object_ref<Value>, "ray: put of an ObjectRef: it is stored already");
  constexpr bool fits = std::is_constructible_v<Value, From&&>;
  static_assert(
      fits,
      "ray: put of a value that cannot be copied: give it away with std::move; what cannot "
      "be moved either can be kept in a std::unique_ptr");
  if constexpr (fits) {
    constexpr bool copies = std::is_lvalue_reference_v<From&&> &&
                            std::is_same_v<std::remove_cvref_t<From>, Value> &&
                            !std::is_trivially_copyable_v<Value>;
    if constexpr (copies) {
      if (Object* stored = put_copy<Value>(engine, value)) return RefAccess::adopt<Value>(stored);
    }
    Object* cell = Cell<Value>::make(engine.next_identity(), std::forward<From>(value));
    if constexpr (!copies && !std::is_arithmetic_v<Value>) engine.put(cell);
    return RefAccess::adopt<Value>(cell);
  }
}

}  // namespace detail

/// Stores a value: an object that is there already. Moved in, never copied again. (Two, so that
/// `put<std::string>(text)` takes what `put(text)` does.)
template <class T>
[[nodiscard("ray: without a reference the object is gone at once")]] ObjectRef<std::decay_t<T>> put(
    T&& value) {
  return detail::put_value<std::decay_t<T>>(detail::Engine::current(), std::forward<T>(value));
}
template <class T>
[[nodiscard("ray: without a reference the object is gone at once")]] ObjectRef<std::decay_t<T>> put(
    const T& value) {
  return detail::put_value<std::decay_t<T>>(detail::Engine::current(), value);
}

/// Waits for the object and gives it without a copy; valid while any ref to it lives. Throws what
/// its task threw. May run the awaited task on this thread.
template <class T>
std::add_lvalue_reference_t<const T> get(const ObjectRef<T>& ref) {
  detail::Object* object = detail::object_of(ref, "get");
  detail::await_value(object);
  if constexpr (!std::is_void_v<T>) return detail::value_of<T>(object);
}
inline void get(const ObjectRef<void>& ref) { detail::await_value(detail::object_of(ref, "get")); }

/// As above, as a value: moved out when this was the last reference, copied otherwise. When it
/// throws, also because the value cannot be copied and others name it, the ref stays as it was.
template <class T>
T get(ObjectRef<T>&& ref) {
  detail::await_value(detail::object_of(ref, "get"));
  return detail::take_value(ref);
}

/// With a timeout: throws GetTimeoutError when it is not there by then. 0 only looks; a negative
/// one throws InvalidArgumentError, also when the value is there.
template <class T, class Rep, class Period>
std::add_lvalue_reference_t<const T> get(const ObjectRef<T>& ref,
                                         std::chrono::duration<Rep, Period> timeout) {
  detail::Object* object = detail::object_of(ref, "get");
  const auto deadline = detail::deadline_after(Timeout(timeout));
  if (!detail::Engine::wait(object, &deadline)) detail::throw_get_timeout(object, Timeout(timeout));
  detail::require_value(object);
  if constexpr (!std::is_void_v<T>) return detail::value_of<T>(object);
}
template <class T, class Rep, class Period>
T get(ObjectRef<T>&& ref, std::chrono::duration<Rep, Period> timeout) {
  get(std::as_const(ref), timeout);
  return detail::take_value(ref);
}

// What looks like one of these, and is not.
template <class T, class Number>
requires std::is_arithmetic_v<Number>
void get(const ObjectRef<T>&, Number) {
  static_assert(
      !std::is_arithmetic_v<Number>,
      "ray: get with a number as timeout: say its unit, as 5s or std::chrono::seconds(5)");
}
template <class T>
void get(ObjectRefStream<T>&) {
  static_assert(std::is_void_v<ObjectRefStream<T>>,
                "ray: get of a stream: read its items with next() or a for loop, and get each");
}
template <class T>
void get(ObjectRefStream<T>&& stream) {
  get(stream);
}

/// All of a range, in order: a std::vector of copies (of references where T cannot be copied; of
/// moved values when the range is given up by std::move). Throws the first failure it meets.
template <detail::RefRange R>
auto get(R&& refs, std::optional<Timeout> timeout = {}) {
  using T = detail::RefValue<detail::RangeElement<R>>;
  detail::await_all(refs, timeout);
  if constexpr (!std::is_void_v<T>) {
    constexpr bool owned = detail::is_owned<R>;
    if constexpr (owned) {
      for (auto& ref : refs) detail::require_movable(std::move(ref));  // Before one is taken.
    }
    std::vector<detail::Gotten<T, owned>> values;
    values.reserve(static_cast<std::size_t>(std::ranges::distance(refs)));
    for (auto&& ref : refs) {
      if constexpr (owned) {
        using Ref = std::remove_reference_t<decltype(ref)>;
        if constexpr (std::is_const_v<Ref>) {
          values.push_back(detail::value_of<T>(detail::RefAccess::object(ref)));
        } else {
          values.push_back(detail::take_value(ref));
        }
      } else {
        values.push_back(
            detail::Gotten<T, false>(detail::value_of<T>(detail::RefAccess::object(ref))));
      }
    }
    return values;
  }
}

/// Several, of different types: a std::tuple of values (std::monostate for void).
template <class A, class B, class... More>
requires(detail::is_object_ref<A>&& detail::is_object_ref<B> &&
         (detail::is_object_ref<More> && ...)) auto get(A&& a, B&& b, More&&... more) {
  using Values =
      std::tuple<detail::Regular<detail::RefValue<A>>, detail::Regular<detail::RefValue<B>>,
                 detail::Regular<detail::RefValue<More>>...>;
  detail::await_value(detail::object_of(a, "get"));
  detail::await_value(detail::object_of(b, "get"));
  (detail::await_value(detail::object_of(more, "get")), ...);
  detail::require_movable(std::forward<A>(a));
  detail::require_movable(std::forward<B>(b));
  (detail::require_movable(std::forward<More>(more)), ...);
  return Values(detail::regular_value(std::forward<A>(a)),
                detail::regular_value(std::forward<B>(b)),
                detail::regular_value(std::forward<More>(more))...);
}

/// The refs of a task that returns a tuple.
template <class... T>
auto get(const std::tuple<ObjectRef<T>...>& refs) {
  std::apply([](const auto&... ref) { (detail::await_value(detail::object_of(ref, "get")), ...); },
             refs);
  return std::apply(
      [](const auto&... ref) {
        return std::tuple<detail::Regular<T>...>(detail::regular_value(ref)...);
      },
      refs);
}

/// Waits like get, and gives the value or the error instead of throwing. A `const T&` inside is
/// valid while any ref lives.
template <class T>
Result<std::add_lvalue_reference_t<const T>> try_get(const ObjectRef<T>& ref,
                                                     std::optional<Timeout> timeout = {});

/// As above, the value moved out when this was the last reference, copied otherwise.
template <class T>
Result<T> try_get(ObjectRef<T>&& ref, std::optional<Timeout> timeout = {});

/// Waits until num_returns of the refs are ready (a failure counts as ready) or the timeout is
/// over. At most num_returns in `ready`, the rest in `pending`, both in the given order;
/// moved there when the range is given up by std::move, which is faster for many.
/// No refs at all give an empty result at once, whatever the options; else it throws
/// InvalidArgumentError for an empty ref, num_returns 0 or over the number of refs.
template <detail::RefRange R>
auto wait(R&& refs, WaitOptions options = {})
    -> WaitResult<detail::RefValue<detail::RangeElement<R>>>;

/// The task's object fails at once with TaskCancelledError. If the task has not begun, it will
/// not; if it runs, its stop token is triggered and its result dropped. No effect on an object
/// that is ready or was put.
template <class T>
void cancel(const ObjectRef<T>& ref, CancelOptions options = {}) {
  detail::Engine::cancel(detail::object_of(ref, "cancel"), options);
}

// --- implementation ---

namespace detail {

/// Whether it has a value; else why not, in `failure`.
bool try_await(Object* object, std::optional<Timeout> timeout, FailurePtr* failure);
void check_wait(std::size_t num_returns, std::size_t size);
/// Which of the objects are ready, at most num_returns of them.
std::vector<bool> wait_ready(const std::vector<Object*>& objects, const WaitOptions& options);

}  // namespace detail

template <class T>
Result<std::add_lvalue_reference_t<const T>> try_get(const ObjectRef<T>& ref,
                                                     std::optional<Timeout> timeout) {
  using Out = Result<std::add_lvalue_reference_t<const T>>;
  detail::Object* object = detail::RefAccess::object(ref);
  detail::FailurePtr failure;
  if (!detail::try_await(object, timeout, &failure)) return Out::from_failure(std::move(failure));
  if constexpr (std::is_void_v<T>) {
    return Out::from_value(true);
  } else {
    return Out::from_value(detail::value_of<T>(object));
  }
}

template <class T>
Result<T> try_get(ObjectRef<T>&& ref, std::optional<Timeout> timeout) {
  detail::FailurePtr failure;
  if (!detail::try_await(detail::RefAccess::object(ref), timeout, &failure)) {
    return Result<T>::from_failure(std::move(failure));
  }
  if constexpr (std::is_void_v<T>) {
    return Result<T>::from_value(true);
  } else {
    try {
      return Result<T>::from_value(detail::take_value(ref));
    } catch (...) {  // It can neither be moved nor copied.
      return Result<T>::from_failure(detail::make_failure(std::current_exception(), ""));
    }
  }
}

template <detail::RefRange R>
auto wait(R&& refs, WaitOptions options) -> WaitResult<detail::RefValue<detail::RangeElement<R>>> {
  std::vector<detail::Object*> objects;
  objects.reserve(static_cast<std::size_t>(std::ranges::distance(refs)));
  for (const auto& ref : refs) objects.push_back(detail::object_of(ref, "wait"));
  const std::vector<bool> ready = detail::wait_ready(objects, options);
  WaitResult<detail::RefValue<detail::RangeElement<R>>> result;
  result.ready.reserve(objects.empty() ? 0 : options.num_returns);
  result.pending.reserve(objects.size());
  std::size_t i = 0;
  for (auto&& ref : refs) {
    auto& into = ready[i++] ? result.ready : result.pending;
    if constexpr (detail::is_owned<R>) {
      into.push_back(std::move(ref));
    } else {
      into.push_back(ref);
    }
  }
  return result;
}

}  // namespace ray
