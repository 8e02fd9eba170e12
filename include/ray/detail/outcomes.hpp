// Where a task's result lies in its record: one value, several, a coroutine's, or a stream.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include <ray/coroutine.hpp>
#include <ray/detail/cells.hpp>

namespace ray::detail {

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
    if (mine[0] == nullptr) return;  // Nobody holds them here: it runs for another process.
    if (seal == kEncoded) {          // Another process made them; each has its seal.
      for (Object* element : mine) release(element, kRuntimeRef);
      return;
    }
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

}  // namespace ray::detail
