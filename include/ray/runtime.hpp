// The runtime: started by init() for the process, or as an object of one's own.
#pragma once

#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ray/actor.hpp>
#include <ray/objects.hpp>
#include <ray/options.hpp>
#include <ray/remote.hpp>
#include <ray/state.hpp>

namespace ray {

namespace detail {
struct Process;  // src/runtime/runtime.cpp
[[noreturn]] void throw_ended();
}  // namespace detail

class Context;

/// A runtime: worker threads, queues, actors. The newest that lives (init()'s is one too) is the
/// current one for the free functions; inside a task it is the one that runs the task.
/// Threads: any. Lifetime: the destructor asks running tasks to stop (context().stop_token()),
/// fails what has not begun with TaskCancelledError, and waits for the running ones. Refs and
/// handles may outlive it; values that are there stay.
/// Fork: not while one lives. The child has none of its threads; there every use of it, and making
/// another, throws InvalidArgumentError, and a get of what is not ready may wait for ever.
class Runtime {
public:
  /// Throws InvalidArgumentError for options that are wrong, or not in this version yet.
  explicit Runtime(const RuntimeOptions& options = {});
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// What the destructor does, now. Idempotent. What makes something throws InvalidArgumentError
  /// afterwards, and so does this inside one of the runtime's own tasks, for which it would have to
  /// wait (the destructor prints that and aborts). Requires: no other thread uses this meanwhile.
  void shutdown();
  /// Whether it was not shut down.
  [[nodiscard]] bool is_initialized() const noexcept { return engine_ != nullptr; }

  /// As ray::remote<F>(args…), on this runtime. (The overloads note where they are called.)
  template <auto F>
  auto remote(detail::SourceSite site = detail::SourceSite::current()) {
    return on<F>().call(site);
  }
  template <auto F, class A>
  auto remote(A&& a, detail::SourceSite site = detail::SourceSite::current()) {
    return on<F>().call(site, std::forward<A>(a));
  }
  template <auto F, class A, class B>
  auto remote(A&& a, B&& b, detail::SourceSite site = detail::SourceSite::current()) {
    return on<F>().call(site, std::forward<A>(a), std::forward<B>(b));
  }
  template <auto F, class A, class B, class C, class... More>
  auto remote(A&& a, B&& b, C&& c, More&&... more) {
    return on<F>()(std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                   std::forward<More>(more)...);
  }
  /// `rt.with<F>({.num_cpus = 2})(args…)`.
  template <auto F>
  [[nodiscard("ray: with(…) calls nothing yet: add (arguments…)")]] auto with(
      detail::OptionsOf<F> options) {
    return RemoteWithOptions<F>(std::move(options), &engine());
  }
  template <class C, class... A>
  [[nodiscard("ray: without a handle the actor ends at once")]] ActorHandle<C> actor(
      A&&... arguments) {
    return ActorWithOptions<C>(ActorOptions{}, &engine())(std::forward<A>(arguments)...);
  }
  /// `rt.actor_with<C>({.name = "x"})(args…)`.
  template <class C>
  [[nodiscard("ray: actor_with(…) makes no actor yet: add (arguments…)")]] ActorWithOptions<C>
  actor_with(ActorOptions options) {
    return ActorWithOptions<C>(std::move(options), &engine());
  }
  template <class C>
  ActorHandle<C> get_actor(std::string_view name) {
    return detail::HandleAccess::adopt<C>(
        detail::find_actor(engine(), name, &detail::actor_class_of<C>));
  }
  template <class C>
  void kill(const ActorHandle<C>& handle, KillOptions options = {}) {
    ray::kill(handle, options);
  }
  template <class T>
  [[nodiscard("ray: without a reference the object is gone at once")]] auto put(T&& value) {
    return detail::put_value<std::decay_t<T>>(engine(), std::forward<T>(value));
  }
  template <class T>
  [[nodiscard("ray: without a reference the object is gone at once")]] auto put(const T& value) {
    return detail::put_value<std::decay_t<T>>(engine(), value);
  }
  template <class... A>
  decltype(auto) get(A&&... refs) {
    return ray::get(std::forward<A>(refs)...);
  }
  template <class... A>
  auto try_get(A&&... arguments) {
    return ray::try_get(std::forward<A>(arguments)...);
  }
  template <class R>
  auto wait(R&& refs, WaitOptions options = {}) {
    return ray::wait(std::forward<R>(refs), options);
  }
  template <class T>
  void cancel(const ObjectRef<T>& ref, CancelOptions options = {}) {
    ray::cancel(ref, options);
  }

  std::map<std::string, double> cluster_resources() const;
  std::map<std::string, double> available_resources() const;
  std::vector<NodeInfo> nodes() const;
  /// A picture of tasks, actors, workers and nodes, taken while they go on.
  [[nodiscard]] State state() const;
  /// Writes a trace that chrome://tracing and Perfetto open: a bar for each task, arrows from
  /// submission to start and from a result to who takes it. Needs RuntimeOptions::task_events.
  /// Throws Error when the file cannot be written.
  void timeline(const std::string& path) const;
  /// One screen of text.
  [[nodiscard]] std::string status() const;

  const RuntimeOptions& options() const noexcept { return options_; }
  /// As ray::context().
  Context context() const;

private:
  friend struct detail::Process;
  detail::Engine& engine() const {
    if (engine_ == nullptr) [[unlikely]]
      detail::throw_ended();
    return *engine_;
  }
  template <auto F>
  RemoteFunction<F> on() const {
    return RemoteFunction<F>(&engine());
  }

  std::unique_ptr<detail::Engine> engine_;  // Null once it was shut down.
  RuntimeOptions options_;
};

/// Starts the process's runtime. Optional: the first use starts one with defaults. RAY_…
/// environment variables fill what the options leave at their defaults. Throws
/// InvalidArgumentError when it is started already, an option is wrong, or the process was forked
/// from one in which a runtime lived.
Runtime& init(const RuntimeOptions& options = {});
/// Also takes `--ray-…` flags out of argv; they come before the options, which come before the
/// environment.
Runtime& init(int& argc, char** argv, const RuntimeOptions& options = {});
/// Ends the process's runtime; see Runtime::shutdown. Idempotent; also happens at exit. Throws
/// InvalidArgumentError inside any task.
void shutdown();
[[nodiscard]] bool is_initialized();

std::map<std::string, double> cluster_resources();
std::map<std::string, double> available_resources();
std::vector<NodeInfo> nodes();
[[nodiscard]] State state();
void timeline(const std::string& path);
[[nodiscard]] std::string status();

/// Where the calling code runs. Inside a task or an actor's method; on a driver ids are "none".
class Context {
public:
  NodeId node_id() const;
  WorkerId worker_id() const;
  TaskId task_id() const;
  ActorId actor_id() const;
  /// 0 for the first, 1 for the first retry, …
  int attempt() const;
  /// Triggered when the task is cancelled or the runtime ends.
  std::stop_token stop_token() const;
  std::string task_name() const;
};

inline Context context() { return {}; }
inline Context Runtime::context() const { return {}; }

}  // namespace ray
