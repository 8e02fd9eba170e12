// Worker threads: where they find work, how they sleep, who wakes them, when there are more.
//
// Waking: a thread that is about to sleep first says so (`sleepers_`), then makes that visible to
// all others (membarrier), then looks for work once more. Whoever queues work looks at `sleepers_`
// afterwards. So either the sleeper sees the work, or the other sees the sleeper: nothing is lost.
// Only one thread polls at a time (`spinners_`), and while it does nobody is woken.
//
// A thread that has just polled in vain naps for a while (kNap at a time, kNapsFor in all) before
// it sleeps for good. While one naps, a driver's single task wakes nobody: mostly the driver gets
// it next and runs it itself, and waking a thread costs it 10 to 40 us; else the napper finds it.
#include <pthread.h>

#include <algorithm>
#include <system_error>

#include <ray/error.hpp>
#include <ray/runtime/actor_core.hpp>
#include <ray/runtime/engine.hpp>

#include "runtime/parts.hpp"

namespace ray::detail {

namespace {

constexpr std::size_t kStealMax = 32;
constexpr std::size_t kDeep = 64;
constexpr auto kMonitorTick = std::chrono::milliseconds(1);
constexpr int kStalledTicks = 20;
constexpr auto kNap = std::chrono::microseconds(100);
constexpr auto kNapsFor = std::chrono::milliseconds(10);
constexpr auto kSpareIdle = std::chrono::seconds(1);

}  // namespace

bool EngineParts::work_visible(bool slot_too) const {
  if (errand_count.load(std::memory_order_acquire) != 0) return true;
  if (slot_too && !slot_available()) return false;
  const std::uint32_t count = lane_count.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!lanes[i].load(std::memory_order_relaxed)->looks_empty()) return true;
  }
  return false;
}

void Engine::enqueue_errand(Task* task) {
  EngineParts& parts = *parts_;
  {
    const std::lock_guard lock(parts.errands_mutex);
    task->slot.store(0, std::memory_order_relaxed);
    parts.errands.push_back(task);
    parts.errand_count.fetch_add(1, std::memory_order_seq_cst);
  }
  parts.find_threads_for_errands();
}

/// If errands are left, nobody sleeps and nobody polls, then all threads are busy: more are needed
/// at once for tasks whose CPUs are reserved, and soon for the others.
void EngineParts::find_threads_for_errands() {
  if (client != nullptr) client->wake_worker();
  if (errand_count.load(std::memory_order_seq_cst) == 0 ||
      engine.spinners_.load(std::memory_order_relaxed) != 0 || wake_one()) {
    return;
  }
  const int wanted = base_threads + granted_count.load(std::memory_order_relaxed);
  if (thread_count.load(std::memory_order_relaxed) >= wanted || !spawn_thread(true)) arm_monitor();
}

Task* EngineParts::pop_errand() {
  if (errand_count.load(std::memory_order_acquire) == 0) return nullptr;
  const std::lock_guard lock(errands_mutex);
  if (errands.empty()) return nullptr;
  Task* task = errands.front();
  errands.pop_front();
  errand_count.fetch_sub(1, std::memory_order_acq_rel);
  return task;
}

Task* EngineParts::find_work(ThreadContext& context) {
  if (context.lane_engine == engine.serial()) {
    if (Task* task = context.lane->pop()) return task;
  }
  const std::uint32_t count = lane_count.load(std::memory_order_acquire);
  for (std::uint32_t k = 0; k < count; ++k) {
    std::uint32_t at = context.steal_from + k;
    if (at >= count) at %= count;
    Lane* lane = lanes[at].load(std::memory_order_relaxed);
    Task* stolen[kStealMax];
    // Few tasks in a lane are the roots of what its thread is deep inside of: taking one is enough.
    // Many, mostly an outside thread's, are taken in batches.
    std::size_t n = 0;
    if (lane->size_hint() > kDeep &&
        (context.lane_engine == engine.serial() || engine.attach_lane())) {
      n = lane->steal(stolen, kStealMax);
    } else {
      stolen[0] = lane->steal_one();
      n = stolen[0] != nullptr ? 1 : 0;
    }
    if (n == 0) continue;
    context.steal_from = at;
    if (n > 1) {
      for (std::size_t i = 0; i < n; ++i) __builtin_prefetch(stolen[i], 1);
      for (std::size_t i = n - 1; i > 0; --i) context.lane->push(stolen[i]);
    }
    return stolen[0];
  }
  return nullptr;
}

void Engine::run_chain(Task* task) {
  ThreadContext& context = thread_context;
  const bool chains = context.cpu_held >= kCpuUnit;
  do {
    run_task(task, chains);
    task = std::exchange(context.next_task, nullptr);
  } while (task != nullptr);
}

bool Engine::admit(Task* task) {
  if (task->has(kResumed) || task->has(kInternal)) return true;  // They look for themselves.
  if (task->sealed()) {
    complete(task, kCancelled);
    return false;
  }
  if (parts_->stopping.load(std::memory_order_relaxed)) {
    complete(task, kShutdown);
    return false;
  }
  if (parts_->is_cancelled_child(task)) {
    complete(task, kParentCancelled);
    return false;
  }
  if (task->has(kTraced)) {
    const TaskExtra* extra = task->extra.load(std::memory_order_acquire);
    Events::started(task, extra != nullptr ? static_cast<std::uint32_t>(extra->attempt) : 0);
  }
  return true;
}

void EngineParts::worker_main(Worker* worker) {
  ThreadContext& context = thread_context;
  context.engine = &engine;
  context.is_worker = true;
  context.worker_number = worker->number;
  context.steal_from = worker->number;
  bool fresh = true;  // Just woken: whoever finds more than one task wakes the next thread.
  for (;;) {
    if (Task* errand = pop_errand()) {
      if (context.cpu_held != 0) give_slot(std::exchange(context.cpu_held, 0));
      if (fresh && work_visible()) engine.notify();
      fresh = false;
      find_threads_for_errands();
      // Its code may block in ways we cannot see, and the slot that this thread gave up has no
      // thread meanwhile: whoever queues work now, and the monitor once, look after it.
      engine.deficit_.fetch_add(1, std::memory_order_seq_cst);
      if (engine.sleepers_.load(std::memory_order_seq_cst) == 0) arm_monitor();
      engine.run_chain(errand);
      engine.deficit_.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    const bool give_way =
        context.cpu_held != 0 && (engine.free_cpus_.load(std::memory_order_relaxed) < 0 ||
                                  cpu_wanted.load(std::memory_order_relaxed) != 0 ||
                                  returning_count.load(std::memory_order_relaxed) != 0);
    if (give_way) give_slot(std::exchange(context.cpu_held, 0));
    // Not only to look: what is free, others read too.
    if (context.cpu_held == 0 && work_visible() && try_take_slot()) context.cpu_held = kCpuUnit;
    if (context.cpu_held != 0) {
      if (Task* task = find_work(context)) {
        if (fresh && work_visible()) engine.notify();
        fresh = false;
        engine.run_chain(task);
        continue;
      }
      give_slot(std::exchange(context.cpu_held, 0));
    }
    if (joining.load(std::memory_order_acquire) && !work_visible(false)) break;
    slab_flush();
    idle(worker);
    if (worker->ended) break;
    fresh = true;
  }
  slab_flush();
  // Somebody else may be waiting for what only this thread knew of.
  if (joining.load()) {
    const std::lock_guard lock(sleep_mutex);
    for (Worker* other : sleeping) other->parker.load()->unpark();
  }
}

/// Polls for work on behalf of all threads that sleep; true if there is some.
bool EngineParts::poll_for_work() {
  const auto until = Clock::now() + options.spin_us;
  bool found = false;
  int pauses = 1;
  do {
    for (int i = 0; i < pauses; ++i) __builtin_ia32_pause();
    if (pauses < 64) pauses *= 2;
    found = work_visible() || joining.load(std::memory_order_relaxed);
    // Where all slots are taken, polling only takes a core from those that work.
  } while (!found && slot_available() && Clock::now() < until);
  engine.spinners_.store(0, std::memory_order_seq_cst);
  return found;
}

/// Until there may be work; the worker's `ended` says that it was idle for too long.
void EngineParts::idle(Worker* worker) {
  int none = 0;
  bool polls = engine.spinners_.compare_exchange_strong(none, kNoWake);
  for (;;) {
    if (polls && poll_for_work()) return;
    // Say that we sleep, make sure everybody sees it, look once more.
    {
      const std::lock_guard lock(sleep_mutex);
      sleeping.push_back(worker);
      engine.sleepers_.fetch_add(1, std::memory_order_seq_cst);
    }
    Engine::heavy_barrier();
    const auto now = Clock::now();
    const auto until = now + kSpareIdle;
    const auto nap_until = now + kNapsFor;
    bool napping = polls;
    if (napping) nappers.fetch_add(1, std::memory_order_relaxed);
    bool in_time = true;
    for (;;) {
      const bool leave = !in_time || work_visible() || joining.load(std::memory_order_seq_cst);
      if (napping && (leave || !slot_available() || Clock::now() >= nap_until)) {
        napping = false;
        nappers.fetch_sub(1, std::memory_order_seq_cst);
        if (!leave) {
          Engine::heavy_barrier();  // Whoever queued work while we napped woke nobody.
          continue;
        }
      }
      {
        const std::lock_guard lock(sleep_mutex);
        const auto at = std::find(sleeping.begin(), sleeping.end(), worker);
        if (at == sleeping.end()) break;  // Woken, to poll: wake_one() has said so for us.
        if (leave) {
          sleeping.erase(at);
          engine.sleepers_.fetch_sub(1, std::memory_order_seq_cst);
          worker->ended = !in_time;
          return;
        }
      }
      const auto nap_end = Clock::now() + kNap;
      worker->parker.load()->park_until(napping ? &nap_end : worker->spare ? &until : nullptr);
      in_time = !worker->spare || Clock::now() < until;
    }
    if (napping) nappers.fetch_sub(1, std::memory_order_relaxed);
    polls = true;
  }
}

bool EngineParts::wake_one() {
  Parker* parker = nullptr;
  {
    const std::lock_guard lock(sleep_mutex);
    if (sleeping.empty()) return false;
    int none = 0;
    // One that polls will find it; and one wake per burst: the woken one polls on our behalf.
    if (!engine.spinners_.compare_exchange_strong(none, kNoWake)) return true;
    parker = sleeping.back()->parker.load();  // The one that slept last is the warmest.
    sleeping.pop_back();
    engine.sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }
  parker->unpark();
  return true;
}

void Engine::notify_slow() {
  const ThreadContext& context = thread_context;
  if (parts_->nappers.load(std::memory_order_relaxed) != 0 && context.is_driver() &&
      context.lane_engine == serial_ && context.lane->size_hint() < 2 &&
      parts_->errand_count.load(std::memory_order_relaxed) == 0) {
    return;
  }
  if (sleepers_.load(std::memory_order_relaxed) > spinners_.load(std::memory_order_relaxed)) {
    if (parts_->slot_available() || parts_->errand_count.load(std::memory_order_relaxed) != 0) {
      parts_->wake_one();
    }
  } else if (spinners_.load(std::memory_order_relaxed) == 0) {
    parts_->arm_monitor();
  }
}

bool EngineParts::spawn_thread(bool spare) {
  int count = thread_count.load();
  do {
    if (count >= max_threads) return false;
  } while (!thread_count.compare_exchange_weak(count, count + 1));
  std::vector<std::unique_ptr<Worker>> ended;
  auto worker = std::make_unique<Worker>();
  worker->number = numbers.fetch_add(1) + 1;
  worker->spare = spare;
  Worker* raw = worker.get();
  {
    const std::lock_guard lock(threads_mutex);
    if (no_more_threads) {
      thread_count.fetch_sub(1);
      return false;
    }
    std::erase_if(workers, [&](std::unique_ptr<Worker>& old) {
      if (!old->gone.load(std::memory_order_acquire)) return false;
      ended.push_back(std::move(old));
      return true;
    });
    try {
      raw->thread = std::thread([this, raw] {
        raw->parker = &Parker::mine();
        ::pthread_setname_np(::pthread_self(), ("ray-w" + std::to_string(raw->number)).c_str());
        worker_main(raw);
        thread_count.fetch_sub(1);
        raw->gone.store(true, std::memory_order_release);
      });
    } catch (const std::system_error&) {  // The system gives no more threads.
      thread_count.fetch_sub(1);
      return false;
    }
    workers.push_back(std::move(worker));
  }
  for (auto& old : ended) old->thread.join();
  return true;
}

void EngineParts::arm_monitor() {
  if (monitor_armed.load(std::memory_order_relaxed) ||
      monitor_armed.exchange(true, std::memory_order_acq_rel)) {
    return;
  }
  timers.at(Clock::now() + kMonitorTick, [this] { monitor_tick(); });
}

/// Work that nobody took for a whole tick, though it could run: the threads are all busy or
/// blocked in ways we cannot see. One more thread; or, if there can be none and all wait for what
/// is not run, one of them gives up.
void EngineParts::monitor_tick() {
  const bool stuck = work_visible() && engine.spinners_.load() == 0;
  if (stuck) {
    if (!wake_one() && !spawn_thread(true)) {
      stalled_ticks = all_stalled() ? stalled_ticks + 1 : 0;
      if (stalled_ticks == kStalledTicks) {
        stalled_ticks = 0;
        release_stalled();
      }
    }
    timers.at(Clock::now() + kMonitorTick, [this] { monitor_tick(); });
    return;
  }
  monitor_armed.store(false, std::memory_order_release);
  if (work_visible() && engine.spinners_.load() == 0) arm_monitor();
}

}  // namespace ray::detail
