// What a thread does that waits for an object (architecture.md, "Blocking").
//
// It helps, but only with what it waits for: the awaited task itself if nobody has begun it, or a
// task that one waits for, as far as its arguments' producers go. Running any other task on top
// could bury the awaited one under one that waits for it. When there is nothing to help with, a
// worker gives its slot away and sleeps; another thread stands in for it.
//
// Sound: a task run on top of A is one that A cannot go on without. If it waited for A, A would
// wait for itself, which is the program's own deadlock (found and thrown below).
#include <pthread.h>

#include <algorithm>
#include <array>

#include <ray/error.hpp>
#include <ray/runtime/engine.hpp>

#include "runtime/circles.hpp"
#include "runtime/shared_objects.hpp"

namespace ray::detail {

struct ThreadWaiter : Waiter {
  WaitSet* set = nullptr;
  std::atomic<bool> told{false};
};

void tell_thread(Waiter* node, std::uintptr_t seal) noexcept {
  auto* waiter = static_cast<ThreadWaiter*>(node);
  WaitSet* set = waiter->set;
  Parker* parker = set->parker;
  const bool failed = is_failure(seal) && set->stop_at_failure;
  if (failed) set->failed.store(true, std::memory_order_release);
  // The sleeper wants its slot back: this thread, if it has come to its end, hands its own over,
  // and so sleeps when the other wakes. Said before the other can go on.
  if (set->remaining.load(std::memory_order_relaxed) == 1 || failed) {
    EngineParts* parts = set->parts.load(std::memory_order_acquire);
    if (parts != nullptr && !set->announced.exchange(true, std::memory_order_relaxed)) {
      parts->returning_count.fetch_add(1, std::memory_order_seq_cst);
    }
  }
  const bool last = set->remaining.fetch_sub(1, std::memory_order_acq_rel) == 1;
  waiter->told.store(true, std::memory_order_release);  // From here on both may be gone.
  if (last || failed) parker->unpark();
}

namespace {

constexpr std::size_t kAncestorsMax = 64;
constexpr auto kSpinBusy = std::chrono::microseconds(20);  // Where others need the core.
#if defined(RAY_ASAN) || defined(RAY_TSAN)
constexpr std::size_t kStackReserve = std::size_t{512} << 10;
#else
constexpr std::size_t kStackReserve = std::size_t{128} << 10;
#endif

/// A driver that runs a task itself would overlook that its time is over.
bool may_time_out(const Task* task) {
  const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  return extra != nullptr && extra->timer.load(std::memory_order_relaxed) != 0;
}

bool claimable(Task* task) {
  return task->ops->kind == ObjectKind::task &&
         task->slot.load(std::memory_order_relaxed) >= Lane::kTaskMin;
}

/// While it lives, this thread sleeps and its slot is free for others. Its end requires that
/// nobody uses the set any more. `objects`: without any of them it cannot go on.
class Blocked {
public:
  Blocked(Engine& engine, std::atomic<int>& deficit, std::vector<Object*> objects, WaitSet& set,
          bool timed)
      : engine_(engine), context_(current_context()), deficit_(deficit), set_(set) {
    EngineParts& parts = engine.parts();
    // A destructor may block while its task is completed: what that has made ready goes on.
    if (Task* next = std::exchange(context_.next_task, nullptr)) engine.enqueue(next);
    context_.wants_next = false;  // What becomes ready from here on goes into a lane.
    if (context_.task() != nullptr) {
      CircleSearch search(parts, context_);
      const std::lock_guard lock(parts.blocked_mutex);
      for (Object* object : objects) {
        if (search.stuck(object)) throw DeadlockError(circle_message(context_.task(), object));
      }
      if (!objects.empty()) parts.arm_circle_search();
      parts.blocked[&context_] = {std::move(objects), &set};
    }
    held_ = context_.cpu_held;
    if (!context_.is_driver()) {
      deficit_.fetch_add(1, std::memory_order_relaxed);
      counted_ = true;
      stalled_ = !timed;
      if (stalled_) parts.stalled.fetch_add(1, std::memory_order_seq_cst);
    }
    if (held_ > 0) {
      parts.give_slot(held_);
      set.parts.store(&parts, std::memory_order_release);
    }
    // The monitor looks after what cannot be run now, or is made ready while all wait.
    if (parts.work_visible() && !parts.wake_one() && counted_ && !parts.spawn_thread(true)) {
      parts.arm_monitor();
    }
  }
  ~Blocked() {
    EngineParts& parts = engine_.parts();
    if (context_.task() != nullptr) {
      const std::lock_guard lock(parts.blocked_mutex);
      parts.blocked.erase(&context_);
    }
    if (counted_) deficit_.fetch_sub(1, std::memory_order_relaxed);
    if (stalled_) parts.stalled.fetch_sub(1, std::memory_order_relaxed);
    if (held_ > 0) parts.take_back(held_, set_.announced.load(std::memory_order_acquire));
  }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;

private:
  Engine& engine_;
  ThreadContext& context_;
  std::atomic<int>& deficit_;
  WaitSet& set_;
  std::int64_t held_ = 0;
  bool counted_ = false;
  bool stalled_ = false;
};

struct AncestorSearch {
  Task* found = nullptr;
};

void look_for_unsealed(void* search, Object* argument) {
  auto* state = static_cast<AncestorSearch*>(search);
  if (state->found != nullptr || argument == nullptr || argument->sealed()) return;
  Task* producer = producer_of(argument);
  if (producer == nullptr) return;
  retain(producer);
  state->found = producer;
}

}  // namespace

bool room_on_stack(ThreadContext& context) {
  if (context.stack_limit == kUnknownStack) {
    pthread_attr_t attributes;
    void* lowest = nullptr;
    std::size_t bytes = 0;
    if (::pthread_getattr_np(::pthread_self(), &attributes) == 0) {
      ::pthread_attr_getstack(&attributes, &lowest, &bytes);
      ::pthread_attr_destroy(&attributes);
    }
    context.stack_limit =
        reinterpret_cast<std::uintptr_t>(lowest) + std::min(kStackReserve, bytes / 2);
  }
  return context.stack_limit < reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

bool EngineParts::all_stalled() const {
  const int threads = thread_count.load();
  return threads >= max_threads && stalled.load() >= threads + drivers_inside.load();
}

void EngineParts::release_stalled() {
  const std::lock_guard lock(blocked_mutex);
  for (const auto& [context, wait] : blocked) {
    if (wait.set->hopeless.exchange(true)) continue;
    wait.set->parker->unpark();
    return;
  }
}

void EngineParts::end_circle(Wait& wait, Object* closed_by) {
  wait.objects.clear();  // Others wait for it no more in vain.
  wait.set->circle.store(closed_by, std::memory_order_release);
  wait.set->parker->unpark();
}

bool Engine::help(Task* task) {
  ThreadContext& context = thread_context;
  if (task->engine != index_ || task->has(kRemote) || !room_on_stack(context)) return false;
  if (context.is_driver() && may_time_out(task)) return false;
  if (task->ops->kind == ObjectKind::actor_call) return actor_run_inline(task);
  if (!claimable(task)) return false;
  const std::int64_t lacking = kCpuUnit - context.cpu_held;
  if (lacking > 0 && !parts_->try_take_slot(lacking)) return false;
  const bool claimed =
      context.lane_engine == serial_ ? context.lane->claim_own(task) : Lane::claim(task);
  if (claimed) {
    const std::int64_t held = context.cpu_held;
    if (lacking > 0) context.cpu_held = kCpuUnit;
    {
      const DriverInside inside(*parts_, context);
      run_task(task);
    }
    context.cpu_held = held;
  }
  if (lacking > 0) parts_->give_slot(lacking);
  return claimed;
}

/// Runs what an unready task waits for, first of all; false if there is nothing to claim.
bool Engine::help_ancestor(Task* task) {
  if (task->missing.load(std::memory_order_relaxed) == 0) return false;
  retain(task);
  bool helped = false;
  for (std::size_t depth = 0; depth < kAncestorsMax; ++depth) {
    if (task->engine != index_) break;
    if (depth > 0 && help(task)) {
      helped = true;
      break;
    }
    if (!pin_waiting(task)) break;
    AncestorSearch search;
    task->ops->arguments(task, look_for_unsealed, &search);
    unpin(task);
    if (search.found == nullptr) break;
    release(task);
    task = search.found;
  }
  release(task);
  return helped;
}

/// The usual case of a wait inside a task: a child that nobody has begun. False if it is another.
[[gnu::always_inline]] inline bool Engine::run_awaited(Object* object) {
  ThreadContext& context = thread_context;
  Engine* engine = context.engine;
  if (object->ops->kind != ObjectKind::task || engine == nullptr ||
      context.lane_engine != engine->serial_ || context.cpu_held < kCpuUnit ||
      reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < context.stack_limit) {
    return false;
  }
  auto* task = static_cast<Task*>(object);
  if (task->engine != engine->index_ || !context.lane->claim_own(task)) return false;
  engine->run_task(task);
  return true;
}

std::uintptr_t Engine::await(Object* object) {
  if (run_awaited(object)) [[likely]] {
    const std::uintptr_t seal = object->seal_state();
    if (seal != kPending) [[likely]]
      return seal;  // Otherwise it is tried again.
  }
  wait(object);
  return object->seal_state();
}

/// The part of a wait in which the thread stays awake: it helps, then polls a little. True if the
/// object is sealed.
bool Engine::wait_awake(Object* object) {
  if (object->sealed()) return true;
  Task* task = producer_of(object);
  if (task == nullptr) return false;
  const EngineScope scope = EngineScope::own_or(task->engine);
  Engine* engine = scope.engine();
  if (engine == nullptr || engine->parts_->client != nullptr) return false;
  const bool inside = thread_context.task() != nullptr;
  // A task may also run what the awaited one waits for; a driver runs just the awaited one.
  const auto help_once = [&] {
    return engine->help(task) || (inside && engine->help_ancestor(task));
  };
  while (!object->sealed() && help_once()) {
  }
  const bool busy = engine->free_cpus_.load(std::memory_order_relaxed) < kCpuUnit;
  const auto spin = busy ? kSpinBusy : engine->parts_->options.spin_us;
  const auto until = Clock::now() + spin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (object->sealed()) return true;
      __builtin_ia32_pause();
    }
    help_once();
  } while (!object->sealed() && Clock::now() < until);
  return object->sealed();
}

bool Engine::wait(Object* object, const Clock::time_point* deadline) {
  if (object->sealed() || (deadline == nullptr && wait_awake(object))) return true;
  return wait_many(&object, 1, 1, false, deadline);
}

void Engine::help_with(Object* const* objects, std::size_t size) {
  if (thread_context.task() == nullptr) {
    wait_awake(objects[0]);
    return;
  }
  for (std::size_t i = 0; i < size; ++i) {
    Object* object = objects[i];
    if (object->seal_state() == kPending && !run_awaited(object) &&
        object->ops->kind == ObjectKind::actor_call) {
      thread_context.engine->help(static_cast<Task*>(object));
    }
    const std::uintptr_t seal = objects[i]->seal_state();
    if (is_failure(seal)) return;
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (objects[i]->sealed()) continue;
    wait_awake(objects[i]);
    return;
  }
}

bool Engine::wait_many(Object* const* objects, std::size_t size, std::size_t count,
                       bool stop_at_failure, const Clock::time_point* deadline) {
  std::int64_t needed = static_cast<std::int64_t>(count);
  std::vector<Object*> pending;
  for (std::size_t i = 0; i < size && needed > 0; ++i) {
    const std::uintptr_t state = objects[i]->seal_state();
    if (state == kPending) {
      pending.push_back(objects[i]);
    } else {
      --needed;
      if (stop_at_failure && is_failure(state)) return false;
    }
  }
  if (needed <= 0) return true;
  if (deadline != nullptr && *deadline <= Clock::now()) return false;

  const Task* producer = producer_of(pending.front());
  const std::uint16_t home = producer != nullptr ? producer->engine : shared_home(pending.front());
  const EngineScope scope = EngineScope::own_or(home);
  Engine* engine = scope.engine();

  WaitSet set{{needed}, stop_at_failure, {}, &Parker::mine()};
  const auto waiters = std::make_unique<ThreadWaiter[]>(pending.size());
  std::size_t registered = 0;
  for (; registered < pending.size(); ++registered) {
    ThreadWaiter& waiter = waiters[registered];
    waiter.set = &set;
    waiter.target = reinterpret_cast<std::uintptr_t>(&waiter) | Waiter::kThread;
    if (!add_waiter(pending[registered], &waiter)) {
      waiter.told.store(true, std::memory_order_relaxed);
      if (stop_at_failure && is_failure(pending[registered]->seal_state())) set.failed = true;
      set.remaining.fetch_sub(1, std::memory_order_acq_rel);
    }
  }
  const auto over = [&] {
    return set.remaining.load(std::memory_order_acquire) <= 0 ||
           set.failed.load(std::memory_order_acquire);
  };
  const auto leave = [&] {
    for (std::size_t i = 0; i < registered; ++i) {
      if (waiters[i].told.load(std::memory_order_acquire)) continue;
      if (remove_waiter(pending[i], &waiters[i])) continue;
      while (!waiters[i].told.load(std::memory_order_acquire)) __builtin_ia32_pause();
    }
  };
  if (over()) {
    leave();
  } else {
    std::optional<Blocked> blocked;
    try {
      if (engine != nullptr) {
        const bool timed = deadline != nullptr;
        const bool needs_all = !timed && needed == static_cast<std::int64_t>(pending.size());
        blocked.emplace(*engine, engine->deficit_, needs_all ? pending : std::vector<Object*>(),
                        set, timed);
      }
    } catch (...) {
      leave();
      throw;
    }
    Object* circle = nullptr;
    Client* const client = engine == nullptr ? nullptr : engine->parts_->client.get();
    if (client != nullptr) {
      Client::Wait wait;
      wait.parker = set.parker;
      // A wait for a time ends by itself: it is in no circle.
      const bool told = client->blocked(wait, pending.data(), pending.size(),
                                        deadline != nullptr ? 0 : static_cast<std::size_t>(needed));
      client->wait(*set.parker, deadline, [&] {
        circle = set.circle.load(std::memory_order_acquire);
        return over() || circle != nullptr || wait.hopeless.load(std::memory_order_acquire) ||
               set.hopeless.load(std::memory_order_acquire);
      });
      if (told) client->unblocked(wait);
      if (!over() && wait.hopeless.load(std::memory_order_acquire)) {
        leave();
        throw DeadlockError(wait.why);
      }
    }
    while (client == nullptr && !over() && !set.hopeless.load(std::memory_order_acquire)) {
      circle = set.circle.load(std::memory_order_acquire);
      if (circle != nullptr) break;
      set.parker->park_until(deadline);
      if (deadline != nullptr && *deadline <= Clock::now()) break;
    }
    leave();
    if (!over() && circle != nullptr) {
      throw DeadlockError(circle_message(thread_context.task(), circle));
    }
    if (!over() && set.hopeless.load(std::memory_order_acquire)) {
      throw DeadlockError(
          "all " + std::to_string(engine->parts_->max_threads) +
          " threads of the runtime wait in get() while tasks are ready to run; raise "
          "RuntimeOptions::max_threads, or wait with co_await, which holds no thread");
    }
  }
  return set.remaining.load(std::memory_order_acquire) <= 0;
}

}  // namespace ray::detail
