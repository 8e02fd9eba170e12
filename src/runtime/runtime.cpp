// The runtime as people see it: init, shutdown, the current one, resources, context.
#include <ray/runtime.hpp>

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <ray/actor_pool.hpp>

#include "runtime/actor_core.hpp"
#include "runtime/config.hpp"
#include "runtime/node_report.hpp"
#include "runtime/parts.hpp"
#include "runtime/worker_process.hpp"

namespace ray {

/// The process's runtimes. Guarded by mutex.
struct detail::Process {
  std::recursive_mutex mutex;
  std::unique_ptr<Runtime> own;    // init()'s, or the one that the first use started.
  std::vector<Runtime*> runtimes;  // All living ones, oldest first.
  std::atomic<Engine*> current{nullptr};
  bool ended = false;
  bool forked = false;              // From a process whose runtimes' threads are not here.
  std::atomic<bool> serves{false};  // A worker process that runs tasks, of
  bool serves_own = false;          // its driver's `own`,
  Engine* serving = nullptr;        // with this engine.

  Process();
  void forget();
  void choose() { current = runtimes.empty() ? serving : runtimes.back()->engine_.get(); }
  const Engine& own_engine() const { return *own->engine_; }
  bool has_own() const { return own != nullptr && own->is_initialized(); }
  bool is_initialized() const { return serves_own || has_own(); }
  ~Process() {
    ended = true;
    // exit() inside a task: the runtime would wait for this very thread.
    const ThreadContext& context = current_context();
    if (context.is_driver()) {
      own.reset();
    } else {
      static Runtime* kept = nullptr;
      kept = own.release();
      static_cast<void>(kept);
    }
  }
};

namespace {

detail::Process& process() {
  static detail::Process instance;
  return instance;
}

/// In the child of a fork: forgets the runtimes, which can neither run nor end without threads.
void forget_runtimes() {
  detail::Process& p = process();
  std::construct_at(&p.mutex);  // It was locked by a thread of another number, the parent's.
  p.forget();
}

}  // namespace

void detail::refuse_after_fork() {
  if (!process().forked) return;
  throw InvalidArgumentError(
      "ray: this process was forked while a runtime lived, and has none of its threads: fork "
      "before ray::init, or start a program of its own (exec, posix_spawn)");
}

namespace {

std::map<std::string, double> as_amounts(std::int64_t cpu,
                                         const std::map<std::string, std::int64_t>& others) {
  std::map<std::string, double> result;
  result["CPU"] = static_cast<double>(cpu) / static_cast<double>(detail::kCpuUnit);
  for (const auto& [name, units] : others) {
    result[name] = static_cast<double>(units) / static_cast<double>(detail::kCpuUnit);
  }
  return result;
}

/// Throws where the engine cannot end, since it would wait for this very thread.
void require_outside(const detail::Engine& engine) {
  const detail::ThreadContext& context = detail::current_context();
  std::string where = context.is_worker && context.engine == &engine ? "on its own thread" : "";
  for (const detail::Frame* frame = context.frame; frame != nullptr; frame = frame->below) {
    if (frame->task != nullptr && frame->task->engine == engine.index()) {
      where = "inside its own task '" + detail::task_name(frame->task) + "'";
    }
  }
  if (where.empty() && detail::EngineScope::holds(engine.index())) {
    where = "inside a wait or a cancel of its objects, from a callback or destructor";
  }
  if (where.empty()) return;
  throw InvalidArgumentError("ray: a runtime cannot end " + where +
                             ", for which it would have to wait: call shutdown(), or destroy the "
                             "Runtime, where none of its tasks runs");
}

RuntimeOptions checked(RuntimeOptions options) {
  detail::refuse_after_fork();
  const Isolation asked = options.isolation;
  detail::read_environment(options);
  // What the environment says of processes is for the driver.
  if (process().serves) options.isolation = asked;
  detail::check(options);
  return options;
}

/// In a worker process the runtime is the node's, and the program goes no further. `own`: where the
/// driver makes init()'s. Not under the process's mutex, which what runs here may need.
void serve_if_worker(const RuntimeOptions& options, bool own) {
  if (options.isolation != Isolation::processes || !detail::is_worker_process()) return;
  detail::Process& p = process();
  if (p.serves.exchange(true)) {
    throw InvalidArgumentError(
        "RuntimeOptions::isolation = processes: a worker process has no workers of its own; make "
        "this Runtime with threads");
  }
  p.serves_own = own;
  detail::serve_as_worker(
      [](detail::Engine& engine) { process().current = process().serving = &engine; });
}

}  // namespace

namespace detail {

Engine& Engine::process_engine() {
  detail::Process& p = process();
  Engine* engine = p.current.load(std::memory_order_acquire);
  if (engine == nullptr) {
    serve_if_worker(checked({}), true);
    const std::lock_guard lock(p.mutex);
    engine = p.current.load();
    if (engine == nullptr) {
      if (p.ended) throw Error("ray: the process is ending; no runtime can start");
      init();
      engine = p.current.load();
    }
  }
  return *engine;
}

std::uint16_t Engine::index_here() noexcept {
  const Engine* engine = thread_context.engine;
  if (engine == nullptr) engine = process().current.load(std::memory_order_acquire);
  return engine == nullptr ? std::uint16_t{0} : engine->index();
}

/// Locked around a fork, so that the child finds `runtimes` whole.
Process::Process() {
  ::pthread_atfork([] { process().mutex.lock(); }, [] { process().mutex.unlock(); },
                   &forget_runtimes);
}

void Process::forget() {
  forked = forked || !runtimes.empty();
  for (Runtime* runtime : runtimes) Engine::forget(*runtime->engine_.release());
  runtimes.clear();
  choose();
}

void throw_ended() {
  refuse_after_fork();
  throw InvalidArgumentError("ray: this Runtime has ended: shutdown() was called; make a new one");
}

void throw_empty_handle(const char* call) {
  throw InvalidArgumentError("ray: " + std::string(call) +
                             ": the ActorHandle is empty (default-made or moved from)");
}

void throw_pool_misuse(const char* why) {
  throw InvalidArgumentError("ray::ActorPool: " + std::string(why));
}

void throw_pool_dead(std::size_t died) {
  throw ActorDiedError(
      "ray::ActorPool: a call was not made, since no actor is left: " + std::to_string(died) +
      " died; push() others, or give them ActorOptions::max_restarts");
}

bool actor_is_dead(ActorCore* core) noexcept {
  const std::lock_guard lock(core->mutex);
  return core->state == ActorState::dead;
}

void throw_get_timeout(Object* object, Timeout timeout) {
  char text[40];
  std::snprintf(text, sizeof text, "%g",
                std::chrono::duration<double, std::milli>(timeout).count());
  throw GetTimeoutError("get of '" + task_name(object) + "' timed out after " + text +
                        " ms: it is not ready; give it more time, or see ray::status()");
}

bool try_await(Object* object, std::optional<Timeout> timeout, FailurePtr* failure) {
  try {
    if (object == nullptr) throw_empty_ref("try_get");
    if (timeout) {
      const auto deadline = deadline_after(*timeout);
      if (!Engine::wait(object, &deadline)) throw_get_timeout(object, *timeout);
    } else {
      Engine::wait(object);
    }
  } catch (...) {
    *failure = make_failure(std::current_exception(), "");
    return false;
  }
  if (has_value(object)) return true;
  *failure = failure_of(object);
  return false;
}

std::vector<bool> wait_ready(const std::vector<Object*>& objects, const WaitOptions& options) {
  if (objects.empty()) return {};  // As in Ray, whatever the options say.
  if (options.num_returns == 0 || options.num_returns > objects.size()) {
    throw InvalidArgumentError("WaitOptions::num_returns = " + std::to_string(options.num_returns) +
                               ": must be from 1 to the number of refs, " +
                               std::to_string(objects.size()));
  }
  std::optional<Clock::time_point> deadline;
  if (options.timeout) deadline = deadline_after(*options.timeout);
  // A single one can be helped with; of several nobody knows which will be first.
  if (objects.size() == 1 && !deadline) Engine::wait(objects[0]);
  Engine::wait_many(objects.data(), objects.size(), options.num_returns, false,
                    deadline ? &*deadline : nullptr);
  std::vector<bool> ready(objects.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < objects.size() && count < options.num_returns; ++i) {
    if (objects[i]->sealed()) {
      ready[i] = true;
      ++count;
    }
  }
  return ready;
}

}  // namespace detail

namespace {

RuntimeOptions unless_worker(RuntimeOptions options) {
  serve_if_worker(options, false);
  return options;
}

}  // namespace

Runtime::Runtime(const RuntimeOptions& options)
    : engine_(std::make_unique<detail::Engine>(unless_worker(checked(options)))),
      options_(engine_->parts().options) {
  detail::Process& p = process();
  const std::lock_guard lock(p.mutex);
  p.runtimes.push_back(this);
  p.choose();
}

Runtime::~Runtime() {
  try {
    shutdown();
  } catch (const InvalidArgumentError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::abort();
  }
}

void Runtime::shutdown() {
  if (engine_ == nullptr) return;
  require_outside(*engine_);
  detail::Process& p = process();
  std::unique_ptr<detail::Engine> ending;  // Ends after the lock.
  const std::lock_guard lock(p.mutex);
  std::erase(p.runtimes, this);
  ending = std::move(engine_);
  p.choose();
}

Runtime& init(const RuntimeOptions& options) {
  detail::Process& p = process();
  if (detail::is_worker_process() && !p.serves) serve_if_worker(checked(options), true);
  const std::lock_guard lock(p.mutex);
  if (p.is_initialized()) {
    throw InvalidArgumentError(
        "ray::init: this process has a runtime already (an earlier init, or the first use started "
        "it); call ray::shutdown() first, or make a ray::Runtime of your own");
  }
  p.own = std::make_unique<Runtime>(options);
  return *p.own;
}

Runtime& init(int& argc, char** argv, const RuntimeOptions& options) {
  RuntimeOptions merged = options;
  detail::read_arguments(argc, argv, merged);
  return init(merged);
}

void shutdown() {
  detail::Process& p = process();
  std::unique_ptr<Runtime> ending;
  if (detail::current_context().task() != nullptr) {
    throw InvalidArgumentError(
        "ray::shutdown: called from inside a task, for which it may have to wait; call it from the "
        "driver");
  }
  {
    const std::lock_guard lock(p.mutex);
    if (p.has_own()) require_outside(p.own_engine());
    ending = std::move(p.own);
  }
}

bool is_initialized() {
  detail::Process& p = process();
  const std::lock_guard lock(p.mutex);
  return p.is_initialized();
}

namespace {

std::map<std::string, double> resources_in(detail::Engine& engine) {
  const auto& total = engine.parts().ledger.total();
  return as_amounts(total.cpu, total.others);
}
std::map<std::string, double> resources_free_in(detail::Engine& engine) {
  detail::EngineParts& parts = engine.parts();
  if (parts.client != nullptr) {
    return parts.client->ask_state(detail::kAskNode).nodes.front().available;
  }
  const std::lock_guard lock(parts.ledger_mutex);
  return as_amounts(std::max<std::int64_t>(0, parts.free_cpus()), parts.ledger.available());
}

}  // namespace

std::map<std::string, double> Runtime::cluster_resources() const { return resources_in(engine()); }
std::map<std::string, double> Runtime::available_resources() const {
  return resources_free_in(engine());
}
std::vector<NodeInfo> Runtime::nodes() const { return detail::nodes_of(engine()); }
State Runtime::state() const { return detail::state_of(engine()); }
void Runtime::timeline(const std::string& path) const { detail::write_timeline(engine(), path); }
std::string Runtime::status() const { return detail::status_of(engine()); }

std::map<std::string, double> cluster_resources() {
  return resources_in(detail::Engine::current());
}
std::map<std::string, double> available_resources() {
  return resources_free_in(detail::Engine::current());
}
std::vector<NodeInfo> nodes() { return detail::nodes_of(detail::Engine::current()); }
State state() { return detail::state_of(detail::Engine::current()); }
void timeline(const std::string& path) { detail::write_timeline(detail::Engine::current(), path); }
std::string status() { return detail::status_of(detail::Engine::current()); }

namespace detail {
NodeId node_id_of(Engine& engine) {
  const Client* client = engine.parts().client.get();
  return client != nullptr ? client->node_id() : NodeId{child_id(engine.serial(), 0)};
}

std::vector<NodeInfo> nodes_of(Engine& engine) {
  if (Client* client = engine.parts().client.get()) return client->ask_state(kAskNode).nodes;
  NodeInfo node;
  node.node_id = node_id_of(engine);
  node.resources = resources_in(engine);
  node.available = resources_free_in(engine);
  return {node};
}
}  // namespace detail

NodeId Context::node_id() const { return detail::node_id_of(detail::Engine::current()); }

WorkerId Context::worker_id() const {
  const detail::ThreadContext& context = detail::current_context();
  if (context.task() == nullptr) return {};
  const detail::Client* client = context.engine->parts().client.get();
  if (client != nullptr && client->worker_id()) return client->worker_id();
  // A driver that runs the task it waits for is a worker meanwhile.
  return WorkerId{context.is_worker ? context.worker_number : detail::kDriverWorker};
}

TaskId Context::task_id() const {
  const detail::ThreadContext& context = detail::current_context();
  return context.task() == nullptr ? TaskId{} : TaskId{context.task()->task_id()};
}

ActorId Context::actor_id() const {
  const detail::ThreadContext& context = detail::current_context();
  const detail::Task* task = context.task();
  if (task == nullptr) return {};
  const detail::ActorCore* actor = context.frame->actor;
  if (task->ops->kind == detail::ObjectKind::actor_call) {
    actor = static_cast<const detail::ActorCall*>(task)->core;
  }
  return actor == nullptr ? ActorId{} : ActorId{detail::actor_id(actor)};
}

int Context::attempt() const {
  const detail::ThreadContext& context = detail::current_context();
  if (context.task() == nullptr) return 0;
  const detail::TaskExtra* extra = context.task()->extra.load(std::memory_order_acquire);
  return extra == nullptr ? 0 : extra->attempt.load(std::memory_order_relaxed);
}

std::stop_token Context::stop_token() const {
  const detail::ThreadContext& context = detail::current_context();
  if (context.task() == nullptr) return {};
  return context.engine->parts().stop_token_of(context.task());
}

std::string Context::task_name() const {
  const detail::ThreadContext& context = detail::current_context();
  if (context.task() == nullptr) return {};
  const detail::TaskExtra* extra = context.task()->extra.load(std::memory_order_acquire);
  if (extra != nullptr && !extra->name.empty()) return extra->name;
  return std::string(context.task()->ops->name());
}

}  // namespace ray
