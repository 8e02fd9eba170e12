// remote<F>(args…): runs F elsewhere and returns at once with a ref to its result.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <ray/actor.hpp>
#include <ray/detail/submit.hpp>
#include <ray/options.hpp>

namespace ray {

namespace detail {

template <auto F>
inline constexpr bool is_method = std::is_member_function_pointer_v<decltype(F)>;

/// A call with its options: TaskOptions for a function, MethodOptions for a method, or
/// DefaultOptions.
template <auto F>
struct Submitter {
  template <class Options, class... A>
  static auto submit(Engine* engine, SourceSite site, const Options& options, A&&... arguments) {
    if constexpr (is_method<F>) {
      return submit_method<F>(site, options, std::forward<A>(arguments)...);
    } else {
      return submit_task<F>(engine != nullptr ? *engine : Engine::current(), site, options,
                            std::forward<A>(arguments)...);
    }
  }
};

/// operator() for up to four arguments with the place of the call behind them, and for any
/// number without. (A parameter pack cannot be followed by a default argument.)
template <class Self>
struct Callable {
  using Site = SourceSite;
  auto operator()(Site site = Site::current()) const { return self().call(site); }
  template <class A>
  auto operator()(A&& a, Site site = Site::current()) const {
    return self().call(site, std::forward<A>(a));
  }
  template <class A, class B>
  auto operator()(A&& a, B&& b, Site site = Site::current()) const {
    return self().call(site, std::forward<A>(a), std::forward<B>(b));
  }
  template <class A, class B, class C>
  auto operator()(A&& a, B&& b, C&& c, Site site = Site::current()) const {
    return self().call(site, std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
  }
  template <class A, class B, class C, class D>
  auto operator()(A&& a, B&& b, C&& c, D&& d, Site site = Site::current()) const {
    return self().call(site, std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                       std::forward<D>(d));
  }
  template <class A, class B, class C, class D, class E, class... More>
  requires(sizeof...(More) == 0 || !(std::is_same_v<std::remove_cvref_t<More>, Site> || ...)) auto
  operator()(A&& a, B&& b, C&& c, D&& d, E&& e, More&&... more) const {
    return self().call(Site(), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                       std::forward<D>(d), std::forward<E>(e), std::forward<More>(more)...);
  }

private:
  const Self& self() const { return static_cast<const Self&>(*this); }
};

template <auto F>
using OptionsOf = std::conditional_t<is_method<F>, MethodOptions, TaskOptions>;

}  // namespace detail

/// A remote function with options: `remote<F>.options({.num_cpus = 2})(a, b)`.
template <auto F>
class RemoteWithOptions : public detail::Callable<RemoteWithOptions<F>> {
public:
  explicit RemoteWithOptions(detail::OptionsOf<F> options, detail::Engine* engine = nullptr)
      : options_(std::move(options)), engine_(engine) {}

  template <class... A>
  auto call(detail::SourceSite site, A&&... arguments) const {
    return detail::Submitter<F>::submit(engine_, site, options_, std::forward<A>(arguments)...);
  }

private:
  detail::OptionsOf<F> options_;
  detail::Engine* engine_;
};

/// What `remote<F>` is: an object to call, copy and pass on. F is a function, an instance of a
/// template, a captureless lambda, a function object, or a pointer to an actor's method (then the
/// first argument is the handle). Each argument is a value or an ObjectRef; a parameter declared
/// ObjectRef<T> gets the reference itself, any other the value.
/// Throws InvalidArgumentError for bad options or an empty ref; what F throws comes out of get().
template <auto F>
class RemoteFunction : public detail::Callable<RemoteFunction<F>> {
public:
  constexpr explicit RemoteFunction(detail::Engine* engine = nullptr) : engine_(engine) {}

  [[nodiscard("ray: options(…) calls nothing yet: add (arguments…)")]] auto options(
      detail::OptionsOf<F> options) const {
    return RemoteWithOptions<F>(std::move(options), engine_);
  }
  template <class... A>
  auto call(detail::SourceSite site, A&&... arguments) const {
    return detail::Submitter<F>::submit(engine_, site, detail::DefaultOptions{},
                                        std::forward<A>(arguments)...);
  }

private:
  detail::Engine* engine_;
};

template <auto F>
inline constexpr RemoteFunction<F> remote{};

}  // namespace ray
