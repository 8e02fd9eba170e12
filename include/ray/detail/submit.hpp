// From a call remote<F>(a, b) to a launched record: checks, choice of slots, names.
#pragma once

#include <array>
#include <string_view>
#include <type_traits>
#include <utility>

#include <ray/detail/records.hpp>

namespace ray::detail {

/// F as the compiler prints it, without the & before its name.
template <auto F>
constexpr std::string_view value_text() {
  constexpr std::string_view text = argument_text(__PRETTY_FUNCTION__, "F = ");
  return text.substr(text.starts_with('&') ? 1 : 0);
}

/// A function called by tasks.
template <auto F>
struct FunctionCall {
  static constexpr bool constant = false;
  static std::string_view name() { return value_text<F>(); }
  template <class... A>
  static decltype(auto) call(A&&... arguments) {
    return F(std::forward<A>(arguments)...);
  }
};

/// A method called on the actor whose turn it is.
template <auto M, class C>
struct MethodCall {
  static constexpr bool constant = MemberSignature<std::remove_cvref_t<decltype(M)>>::constant;
  static std::string_view name() { return value_text<M>(); }
  template <class... A>
  static decltype(auto) call(A&&... arguments) {
    return (static_cast<C*>(thread_context.instance)->*M)(std::forward<A>(arguments)...);
  }
};

// How an argument of unknown parameter type arrives.
template <class A>
struct Arrives {
  using type = typename Kept<Unknown, A>::type&&;
};
template <class A>
requires is_object_ref<A>
struct Arrives<A> {
  using type = const RefValue<A>&;
};

template <class Base, class Function, class R, class Parameters, class Arguments>
struct RecordFor;
template <class Base, class Function, class R, class... P, class... A>
struct RecordFor<Base, Function, R, Types<P...>, Types<A...>> {
  using type = Record<Base, Function, R, Slot<P, A>...>;
};

template <class T, std::size_t>
using Repeat = T;
template <class Count>
struct Unknowns;
template <std::size_t... I>
struct Unknowns<std::index_sequence<I...>> {
  using type = Types<Repeat<Unknown, I>...>;
};

/// What a call has that names no options.
struct DefaultOptions {};

/// Registers the missing arguments and launches. `held`: see actor_submit.
template <class R>
void launch(Engine& engine, R* record, ActorCore* core = nullptr) {
  if (engine.is_remote()) [[unlikely]] {
    engine.launch_remote(record);
    return;
  }
  bool waits = false;
  if (record->has(kTraced)) [[unlikely]] {
    record->slots.for_each_ref([&](auto& held, std::size_t position) {
      engine.trace_argument(record, held.object, position);
    });
  }
  record->slots.for_each_ref([&](auto& held, std::size_t) { waits |= !held.object->sealed(); });
  if (!waits) {
    if (core != nullptr) {
      actor_submit(core, record, true);
    } else {
      engine.launch_ready(record);
    }
    return;
  }
  record->missing.store(1, std::memory_order_relaxed);
  if (core != nullptr) actor_submit(core, record, false);
  record->slots.for_each_ref([&](auto& held, std::size_t) {
    record->missing.fetch_add(1, std::memory_order_relaxed);
    if (!Engine::wait_for_argument(held.object, &held.node, record)) {
      record->missing.fetch_sub(1, std::memory_order_relaxed);
      if (is_failure(held.object->seal_state())) Engine::fail_waiting(record, held.object);
    }
  });
  engine.launch_waiting(record);
}

/// Frees a record that was never launched.
template <class R>
struct Unlaunched {
  R* record;
  ~Unlaunched() {
    if (record == nullptr) return;
    R::release_arguments(record);
    record->refs.store(1, std::memory_order_relaxed);
    release(record);
  }
};

template <class R, class... A>
auto submit_record(Engine& engine, SourceSite site, DefaultOptions, A&&... arguments) {
  R* record = R::make(std::forward<A>(arguments)...);
  engine.adopt(record, site);
  auto returned = record->returned();
  if constexpr (decltype(record->slots)::ref_count == 0) {
    engine.launch_plain(record);
  } else {
    launch(engine, record);
  }
  return returned;
}

template <class R, class... A>
auto submit_record(Engine& engine, SourceSite site, const TaskOptions& options, A&&... arguments) {
  R* record = R::make(std::forward<A>(arguments)...);
  Unlaunched<R> guard{record};
  engine.adopt(record, site);
  engine.apply(record, options);
  if (!decltype(record->slots)::repeats && record->has(kRetryable)) {
    throw InvalidArgumentError(
        "TaskOptions::retry_exceptions = true: an argument that cannot be copied is taken by "
        "value, and a second try would not have it; take it by const&, or set max_retries = 0");
  }
  guard.record = nullptr;
  auto returned = record->returned();
  if (options.timeout) engine.arm_timeout(record, *options.timeout);
  launch(engine, record);
  return returned;
}

/// Never defined: what a call gives that the checks refuse, so that they alone are complained of.
template <class Result>
typename Returned<Result>::type refused();

/// `options`: TaskOptions or DefaultOptions.
template <auto F, class Options, class... A>
auto submit_task(Engine& engine, SourceSite site, const Options& options, A&&... arguments) {
  using Callable = std::remove_cvref_t<decltype(F)>;
  using Known = CallableSignature<Callable>;
  if constexpr (Known::known) {
    using P = typename Known::Parameters;
    if constexpr (CheckCount<P::size, sizeof...(A)>::ok) {
      if constexpr (CheckAll<P, Types<A...>, std::index_sequence_for<A...>>::ok) {
        using R = typename RecordFor<ray::detail::Task, FunctionCall<F>, typename Known::Result, P,
                                     Types<A...>>::type;
        return submit_record<R>(engine, site, options, std::forward<A>(arguments)...);
      } else {
        return refused<typename Known::Result>();
      }
    } else {
      return refused<typename Known::Result>();
    }
  } else {
    constexpr bool passable = [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (CheckPassable<I + 1, A>::ok && ...);
    }
    (std::index_sequence_for<A...>());
    constexpr bool callable = std::is_invocable_v<const Callable&, typename Arrives<A>::type...>;
    static_assert(callable || !passable,
                  "ray: this function object or template cannot be called with these arguments");
    if constexpr (passable && callable) {
      using Result = std::invoke_result_t<const Callable&, typename Arrives<A>::type...>;
      using P = typename Unknowns<std::index_sequence_for<A...>>::type;
      using R =
          typename RecordFor<ray::detail::Task, FunctionCall<F>, Result, P, Types<A...>>::type;
      return submit_record<R>(engine, site, options, std::forward<A>(arguments)...);
    }
  }
}

}  // namespace ray::detail
