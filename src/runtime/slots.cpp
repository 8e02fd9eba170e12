// Who may run: CPU slots, and the tasks that wait for resources.
//
// Slots: `free_cpus_` is what of num_cpus nobody holds. A worker takes one slot before it looks for
// plain tasks and keeps it from task to task. Errands (actors' turns, tasks with reserved
// resources) need no slot.
//
// A thread that waits gives its slot away; when its wait is over it wants it back before new work
// gets one (`returning_count`): a worker at the end of its task then gives way and sleeps, so that
// no more threads run than there are slots. Whoever ends the wait says so beforehand. But the one
// that returns waits no longer than kTakeBackWithin for a task that does not end: then it takes the
// slot without asking (Ray does), and the count goes below 0 for a while.
#include <algorithm>

#include <ray/error.hpp>
#include <ray/runtime/engine.hpp>

#include "runtime/parts.hpp"

namespace ray::detail {

namespace {
constexpr auto kTakeBackWithin = std::chrono::milliseconds(1);
}

bool EngineParts::slot_available() const {
  return engine.free_cpus_.load(std::memory_order_relaxed) >= kCpuUnit &&
         cpu_wanted.load(std::memory_order_relaxed) == 0 &&
         returning_count.load(std::memory_order_relaxed) == 0;
}

bool EngineParts::try_take_slot(std::int64_t units) {
  if (cpu_wanted.load(std::memory_order_relaxed) != 0 ||
      returning_count.load(std::memory_order_relaxed) != 0) {
    return false;
  }
  return take_free(units);
}

void EngineParts::wake_for_work() {
  if (engine.sleepers_.load(std::memory_order_seq_cst) != 0 && work_visible()) engine.notify();
}

bool EngineParts::take_free(std::int64_t units) {
  std::int64_t free = engine.free_cpus_.load(std::memory_order_relaxed);
  while (free >= units) {
    if (engine.free_cpus_.compare_exchange_weak(free, free - units, std::memory_order_acq_rel)) {
      return true;
    }
  }
  return false;
}

void EngineParts::give_slot(std::int64_t units) {
  engine.free_cpus_.fetch_add(units, std::memory_order_seq_cst);
  wake_returning();
  if (cpu_wanted.load(std::memory_order_acquire) != 0) pump();
  wake_for_work();
}

/// One at a time: it wakes the next.
void EngineParts::wake_returning() {
  if (returning_count.load(std::memory_order_seq_cst) == 0) return;
  const std::lock_guard lock(returning_mutex);
  if (!returning.empty()) returning.front()->unpark();
}

void EngineParts::take_back(std::int64_t units, bool announced) {
  if (!take_free(units)) {
    Parker& parker = Parker::mine();
    {
      const std::lock_guard lock(returning_mutex);
      returning.push_back(&parker);
      // seq_cst: whoever gives a slot after this sees it, or we see the slot.
      returning_count.fetch_add(announced ? 0 : 1, std::memory_order_seq_cst);
      announced = true;
    }
    const auto until = Clock::now() + kTakeBackWithin;
    while (!take_free(units)) {
      if (Clock::now() >= until) {
        engine.free_cpus_.fetch_sub(units, std::memory_order_acq_rel);
        break;
      }
      parker.park_until(&until);
    }
    const std::lock_guard lock(returning_mutex);
    returning.erase(std::find(returning.begin(), returning.end(), &parker));
    if (!returning.empty() && free_cpus() > 0) returning.front()->unpark();
  }
  if (!announced) return;
  returning_count.fetch_sub(1, std::memory_order_seq_cst);
  wake_for_work();
}

void EngineParts::reserve_or_queue(Task* task, const Demand& demand) {
  std::optional<std::string> never;
  {
    const std::lock_guard lock(ledger_mutex);
    never = ledger.infeasible(demand);
    if (!never) {
      waiting.emplace_back(demand, task);
      cpu_wanted.fetch_add(1);
    }
  }
  if (never) {
    store_failure(task, make_failure(std::make_exception_ptr(UnschedulableError(
                                         "'" + task_name(task) + "' can never run: it " + *never)),
                                     task_name(task)));
    engine.complete(task, kFailed);
    return;
  }
  pump();
}

void EngineParts::pump() {
  std::vector<Task*> granted;
  std::vector<Task*> gone;
  {
    const std::lock_guard lock(ledger_mutex);
    bool cpu_short = false;
    std::unordered_set<std::string> short_of;  // What an earlier one waits for is not given away.
    for (auto it = waiting.begin(); it != waiting.end();) {
      if (it->second->sealed()) {  // Cancelled meanwhile.
        gone.push_back(it->second);
        it = waiting.erase(it);
        continue;
      }
      const Demand& demand = it->first;
      bool waits = cpu_short && demand.cpu > 0;
      for (const auto& [name, units] : demand.others) waits |= short_of.contains(name);
      if (!waits && ledger.try_reserve(demand)) {
        std::int64_t free = engine.free_cpus_.load(std::memory_order_relaxed);
        while (free >= demand.cpu && !engine.free_cpus_.compare_exchange_weak(
                                         free, free - demand.cpu, std::memory_order_acq_rel)) {
        }
        if (free >= demand.cpu || demand.cpu == 0) {
          granted.push_back(it->second);
          it = waiting.erase(it);
          continue;
        }
        ledger.release(demand);
        cpu_short = true;
      } else if (!waits) {
        for (const auto& [name, units] : demand.others) short_of.insert(name);
      }
      ++it;
    }
    cpu_wanted.store(cpu_short ? 1 : 0);
  }
  for (Task* task : gone) {
    // An actor's creation sees for itself that the actor is dead.
    if (task->has(kInternal)) {
      engine.enqueue_errand(task);
    } else {
      engine.complete(task, kCancelled);
    }
  }
  for (Task* task : granted) {
    task->flags |= kGranted;
    granted_count.fetch_add(1, std::memory_order_relaxed);
    engine.enqueue_errand(task);
  }
  wake_for_work();
}

void EngineParts::release_demand(const Demand& demand) {
  {
    const std::lock_guard lock(ledger_mutex);
    ledger.release(demand);
    granted_count.fetch_sub(1, std::memory_order_relaxed);
    engine.free_cpus_.fetch_add(demand.cpu, std::memory_order_seq_cst);
    wake_returning();
    if (waiting.empty()) {
      if (engine.sleepers_.load(std::memory_order_seq_cst) == 0) return;
    }
  }
  pump();
}

}  // namespace ray::detail
