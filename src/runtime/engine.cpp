// Life and death of a runtime, and threads that come to it.
#include <ray/runtime/engine.hpp>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <random>

#include <ray/error.hpp>
#include <ray/task/record_types.hpp>

#include "runtime/host.hpp"
#include "runtime/memory_monitor.hpp"
#include "runtime/parts.hpp"
#include "task/text.hpp"

namespace ray::detail {

constinit thread_local ThreadContext thread_context;
std::atomic<bool> Engine::asymmetric_{false};
std::atomic<int> Engine::fence_word_{0};

ThreadContext& current_context() noexcept { return thread_context; }

namespace {

constexpr std::size_t kEnginesMax = 65535;
std::array<std::atomic<Engine*>, kEnginesMax + 1> engines{};
std::atomic<std::uint32_t> engines_made{0};
/// Foreign threads inside each engine; counted before the engine is looked up.
std::array<std::atomic<int>, kEnginesMax + 1> outside_calls{};

bool register_membarrier() {
#if defined(RAY_TSAN)
  return false;
#else
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

/// Ids of driver threads differ between runs, so that two programs' objects never share a name.
std::uint64_t process_salt() {
  static const std::uint64_t salt = mix64(
      static_cast<std::uint64_t>(::getpid()) << 32 ^
      static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()));
  return salt;
}

/// Gives a foreign thread's lanes back when the thread ends.
struct LaneLease {
  std::uint16_t engine = 0;
  std::uint64_t serial = 0;
  Lane* lane = nullptr;

  LaneLease(std::uint16_t index, std::uint64_t number, Lane* leased)
      : engine(index), serial(number), lane(leased) {}
  LaneLease(LaneLease&& other) noexcept
      : engine(other.engine), serial(other.serial), lane(std::exchange(other.lane, nullptr)) {}
  LaneLease& operator=(LaneLease&& other) noexcept {
    std::swap(engine, other.engine);
    std::swap(serial, other.serial);
    std::swap(lane, other.lane);
    return *this;
  }
  ~LaneLease() { give_back(); }
  void give_back();
};
std::mutex engines_mutex;  // Held while a lane goes back to, or an engine leaves, `engines`.

void LaneLease::give_back() {
  if (lane == nullptr) return;
  const std::lock_guard lock(engines_mutex);
  Engine* owner = Engine::by_index(engine);
  if (owner != nullptr && owner->serial() == serial) {
    const std::lock_guard lanes(owner->parts().lanes_mutex);
    owner->parts().idle_lanes.push_back(lane);
  }
  lane = nullptr;
}
/// Gone at the thread's end; what the process's end still attaches after that is not given back.
constinit thread_local std::vector<LaneLease>* lease_list = nullptr;
struct LeaseListGuard {
  ~LeaseListGuard() {
    delete lease_list;
    lease_list = nullptr;
  }
};
std::vector<LaneLease>& own_leases() {
  if (lease_list == nullptr) {
    thread_local LeaseListGuard guard;
    static_cast<void>(guard);
    lease_list = new std::vector<LaneLease>;
  }
  return *lease_list;
}

double default_cpus() {
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : count;
}

std::int64_t physical_memory_units() {
  const double bytes =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  return to_units(bytes, "memory");
}

RuntimeOptions completed(RuntimeOptions options) {
  if (options.num_cpus == 0) options.num_cpus = default_cpus();
  if (options.memory_limit_share == 0) options.memory_limit_share = 0.95;
  if (options.max_threads == 0) options.max_threads = static_cast<int>(options.num_cpus) + 1024;
  return options;
}

Demand total_of(const RuntimeOptions& options) {
  Demand total =
      make_demand(options.num_cpus, options.num_gpus, 0, options.resources, "RuntimeOptions");
  total.others["memory"] = physical_memory_units();
  return total;
}

constexpr double kStoreShare = 0.3;  // Of the memory that there is; Ray's.

std::uint64_t memory_bytes() {
  if (const std::uint64_t limit = read_memory_limit(); limit != 0) return limit;
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

NodeLimits limits_of(const EngineParts& parts) {
  NodeLimits limits;
  limits.total = parts.ledger.total();
  if (parts.options.task_events) limits.task_events = parts.options.max_task_events;
  limits.store_bytes = parts.options.object_store_bytes;
  if (limits.store_bytes == 0) {
    limits.store_bytes =
        static_cast<std::uint64_t>(kStoreShare * static_cast<double>(memory_bytes()));
  }
  limits.segment_bytes = std::min(limits.segment_bytes, limits.store_bytes);
  limits.workers_max = static_cast<std::uint32_t>(parts.max_threads);
  limits.prestart = static_cast<std::uint32_t>(std::max(1.0, std::floor(parts.options.num_cpus)));
  limits.name_of = record_type_name;
  return limits;
}

}  // namespace

EngineParts::EngineParts(Engine& owner, const RuntimeOptions& given)
    : engine(owner), options(completed(given)), ledger(total_of(options)) {
  base_threads = std::max(1, static_cast<int>(std::floor(options.num_cpus)));
  max_threads = std::max(options.max_threads, base_threads);
}

void EngineScope::enter(std::uint16_t index) {
  engine_ = nullptr;
  if (index == 0) return;  // Of an object that no task makes.
  counted_ = index;
  below_ = std::exchange(thread_context.scopes, this);
  outside_calls[index].fetch_add(1, std::memory_order_seq_cst);
  engine_ = engines[index].load(std::memory_order_seq_cst);
}

void EngineScope::leave() {
  outside_calls[counted_].fetch_sub(1, std::memory_order_seq_cst);
  thread_context.scopes = below_;
}

bool EngineScope::holds(std::uint16_t index) noexcept {
  const EngineScope* scope = thread_context.scopes;
  while (scope != nullptr && scope->counted_ != index) scope = scope->below_;
  return scope != nullptr;
}

void Engine::forget(Engine& engine) noexcept { engines[engine.index_] = nullptr; }

void Engine::heavy_barrier() noexcept {
  if (asymmetric_) {
    ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  } else {
    fence_word_.fetch_add(0, std::memory_order_seq_cst);
  }
}

Engine* Engine::by_index(std::uint16_t index) noexcept {
  return engines[index].load(std::memory_order_acquire);
}

Engine::Engine(const RuntimeOptions& options) {
  parts_ = std::make_unique<EngineParts>(*this, options);
  if (options.isolation == Isolation::processes) parts_->client = std::make_unique<Client>(*parts_);
  start();
  if (parts_->client == nullptr) return;
  const NodeLimits limits = limits_of(*parts_);
  const message::Welcome welcome{.client = kDriverClient,
                                 .node = child_id(serial_, 0),
                                 .inline_bytes = limits.inline_bytes,
                                 .options = {}};
  try {
    parts_->client->open(std::make_unique<Host>(parts_->options, limits, welcome, *parts_->client),
                         welcome, parts_->options.task_events);
  } catch (...) {
    engines[index_].store(nullptr, std::memory_order_release);
    throw;
  }
}

Engine::Engine(const RuntimeOptions& options, WorkerRole) {
  parts_ = std::make_unique<EngineParts>(*this, options);
  parts_->client = std::make_unique<Client>(*parts_);
  start();
}

void Engine::start() {
  static const bool has_membarrier = register_membarrier();
  asymmetric_ = has_membarrier;
  const std::uint32_t number = engines_made.fetch_add(1) + 1;
  if (number > kEnginesMax) {
    throw Error("ray: this process has made 65535 runtimes, which is the limit; reuse one");
  }
  index_ = static_cast<std::uint16_t>(number);
  serial_ = number;
  free_cpus_.store(parts_->ledger.total().cpu, std::memory_order_relaxed);
  if (parts_->options.task_events) {
    parts_->events.enable(parts_->options.max_task_events);
    special_.store(kTracing, std::memory_order_relaxed);
  }
  if (parts_->client != nullptr) {
    special_.fetch_or(kRemoteTasks, std::memory_order_relaxed);
    parts_->base_threads = 0;  // What is left to run here comes seldom.
  }
  engines[index_].store(this, std::memory_order_release);
  for (int i = 0; i < parts_->base_threads; ++i) {
    if (parts_->spawn_thread(false) || i > 0) continue;
    engines[index_].store(nullptr, std::memory_order_release);
    throw Error("ray: the system gives no thread for a worker; see ulimit -u");
  }
}

Engine::~Engine() {
  EngineParts& parts = *parts_;
  // 1. Nothing new starts: what is queued, and what it would have led to, ends as "shut down".
  parts.stopping.store(true, std::memory_order_seq_cst);
  special_.fetch_or(kStopping, std::memory_order_seq_cst);
  {
    std::vector<std::stop_source> stops;  // Triggered without the lock: they run users' callbacks.
    {
      const std::lock_guard lock(parts.cancel_mutex);
      for (auto& [id, stoppable] : parts.stoppables) stops.push_back(stoppable.stop);
    }
    for (std::stop_source& stop : stops) stop.request_stop();
  }
  {
    std::deque<std::pair<Demand, Task*>> waiting;
    {
      const std::lock_guard lock(parts.ledger_mutex);
      waiting.swap(parts.waiting);
      parts.cpu_wanted.store(0);
    }
    actors_shutdown(parts);
    for (auto& [demand, task] : waiting) {
      // An actor's creation sees for itself that the actor is dead.
      if (task->has(kInternal)) {
        enqueue_errand(task);
      } else {
        complete(task, kShutdown);
      }
    }
  }
  if (parts.client != nullptr) parts.client->close();
  // 2. Workers drain the lanes and end; those that still run user code are waited for. Others may
  // start meanwhile: where all wait for what stands in a lane, somebody must give it its end.
  {
    const std::lock_guard lock(parts.threads_mutex);
    parts.joining.store(true, std::memory_order_seq_cst);
  }
  for (;;) {
    std::vector<std::unique_ptr<Worker>> ending;
    {
      const std::lock_guard lock(parts.threads_mutex);
      ending.swap(parts.workers);
      parts.no_more_threads = ending.empty();
    }
    if (ending.empty()) break;
    for (auto& worker : ending) {
      {
        const std::lock_guard lock(parts.sleep_mutex);
        if (Parker* parker = worker->parker.load()) parker->unpark();
      }
      worker->thread.join();
    }
  }
  parts.timers.stop();
  // 3. What only this thread can reach now: coroutines that would never be resumed, late comers.
  drain();
  {
    const std::lock_guard lock(engines_mutex);
    engines[index_].store(nullptr, std::memory_order_seq_cst);
  }
  // 4. Foreign threads that found the engine before; then what they brought.
  while (outside_calls[index_].load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  drain();
}

void Engine::drain() {
  EngineParts& parts = *parts_;
  for (bool again = true; again;) {
    again = false;
    std::vector<Task*> ended;
    {
      const std::lock_guard lock(parts.suspended_mutex);
      for (auto& [task, waiter] : parts.suspended) ended.push_back(task);
    }
    for (Task* task : ended) {
      again = true;
      retain(task);
      cancel_here(task, kShutdown);
      release(task);
    }
    while (Task* task = parts.pop_errand()) {
      again = true;
      run_task(task);
    }
    const std::uint32_t count = parts.lane_count.load();
    for (std::uint32_t i = 0; i < count; ++i) {
      Task* tasks[32];
      while (std::size_t n = parts.lanes[i].load()->steal(tasks, 32)) {
        again = true;
        for (std::size_t k = 0; k < n; ++k) run_task(tasks[k]);
      }
    }
  }
}

std::uint64_t Engine::driver_id() {
  static std::atomic<std::uint64_t> threads{0};
  return child_id(process_salt(), threads.fetch_add(1));
}

bool Engine::attach_lane() {
  ThreadContext& context = thread_context;
  context.lane_engine = serial_;
  std::vector<LaneLease>& leases = own_leases();
  for (const LaneLease& lease : leases) {
    if (lease.serial == serial_ && lease.lane != nullptr) {
      context.lane = lease.lane;
      return true;
    }
  }
  std::erase_if(leases, [](const LaneLease& lease) { return by_index(lease.engine) == nullptr; });
  const std::lock_guard lock(parts_->lanes_mutex);
  Lane* lane = nullptr;
  if (!parts_->idle_lanes.empty()) {
    lane = parts_->idle_lanes.back();
    parts_->idle_lanes.pop_back();
  } else {
    const std::uint32_t count = parts_->lane_count.load(std::memory_order_relaxed);
    if (count == EngineParts::kLanesMax) {
      context.lane_engine = 0;
      return false;
    }
    parts_->owned_lanes.push_back(std::make_unique<Lane>());
    lane = parts_->owned_lanes.back().get();
    parts_->lanes[count].store(lane, std::memory_order_release);
    parts_->lane_count.store(count + 1, std::memory_order_release);
  }
  context.lane = lane;
  leases.emplace_back(index_, serial_, lane);
  return true;
}

TaskExtra& extra_of(Task* task) {
  TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  if (extra == nullptr) {
    auto made = std::make_unique<TaskExtra>();
    // acq_rel: whoever comes second sees the first one's extra whole.
    if (task->extra.compare_exchange_strong(extra, made.get(), std::memory_order_acq_rel)) {
      extra = made.release();
    }
  }
  return *extra;
}

void free_extra(TaskExtra* extra) noexcept { delete extra; }

std::string task_name(Object* object) {
  Task* task = producer_of(object);
  if (task == nullptr) return "object " + hex_id(object->task_id());
  const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  if (extra != nullptr && !extra->name.empty()) return printable(extra->name);
  std::string name = printable(task->ops->name());
  // One lambda is called like the next: say where this one was submitted.
  if (name.find("lambda") != std::string::npos) name += Events::where(task);
  return name;
}

}  // namespace ray::detail
