#include "runtime/events.hpp"

#include <algorithm>

#include "runtime/parts.hpp"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace ray {

const char* to_string(TaskState state) noexcept {
  switch (state) {
    case TaskState::pending_args:
      return "PENDING_ARGS_AVAIL";
    case TaskState::pending_node:
      return "PENDING_NODE_ASSIGNMENT";
    case TaskState::pending_actor:
      return "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY";
    case TaskState::running:
      return "RUNNING";
    case TaskState::suspended:
      return "SUSPENDED";
    case TaskState::finished:
      return "FINISHED";
    case TaskState::failed:
      return "FAILED";
    case TaskState::cancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

const char* to_string(ActorState state) noexcept {
  switch (state) {
    case ActorState::pending_creation:
      return "PENDING_CREATION";
    case ActorState::alive:
      return "ALIVE";
    case ActorState::restarting:
      return "RESTARTING";
    case ActorState::dead:
      return "DEAD";
  }
  return "UNKNOWN";
}

namespace detail {

namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;
}

std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
#endif
}

void Events::enable(std::size_t capacity) {
  capacity_ = std::max<std::size_t>(capacity, 1);
  ring_ = std::make_unique<TaskEvent[]>(capacity_);
  time0_ = Clock::now();
  tick0_ = ticks();
}

void Events::submitted(Task* task) {
  if (ring_ == nullptr) return;
  TaskEvent& event = ring_[next_.fetch_add(1, kRelaxed) % capacity_];
  if (event.live.load(std::memory_order_acquire)) {
    dropped_.fetch_add(1, kRelaxed);
    return;
  }
  if (const auto old = event.id.load(kRelaxed); old != 0) {
    dropped_.fetch_add(1, kRelaxed);
    if (event.noted.load(kRelaxed)) {
      const std::lock_guard lock(notes_mutex_);
      notes_.erase(old);
    }
  }
  event.id.store(0, kRelaxed);
  event.parent.store(task->parent, kRelaxed);
  event.ops.store(task->ops, kRelaxed);
  event.site.store(task->site, kRelaxed);
  event.submitted.store(ticks(), kRelaxed);
  event.ready.store(0, kRelaxed);
  event.started.store(0, kRelaxed);
  event.ended.store(0, kRelaxed);
  event.actor.store(0, kRelaxed);
  event.submitter.store(thread_context.worker_number, kRelaxed);
  event.worker.store(0, kRelaxed);
  event.attempt.store(0, kRelaxed);
  event.noted.store(false, kRelaxed);
  for (auto& argument : event.args) argument.store(0, kRelaxed);
  event.state.store(TaskState::pending_args, kRelaxed);
  event.live.store(true, kRelaxed);
  event.id.store(task->task_id(), std::memory_order_release);
  task->site = reinterpret_cast<std::uintptr_t>(&event);
  task->flags |= kTraced;
}

std::string Events::where(const Task* task) {
  const TaskEvent* event = task->event();
  const SourceSite site =
      SourceSite::unpack(event != nullptr ? event->site.load(kRelaxed) : task->site);
  const std::string_view file = site.file();
  if (file.empty()) return "";
  const std::string_view name = file.substr(file.rfind('/') + 1);  // All of it if there is none.
  return " (" + std::string(name) + ":" + std::to_string(site.line()) + ")";
}

std::string Events::site(const Task* task) {
  const TaskEvent* event = task->event();
  const SourceSite site =
      SourceSite::unpack(event != nullptr ? event->site.load(kRelaxed) : task->site);
  return std::string(site.file()) + ":" + std::to_string(site.line());
}

void Events::named(Task* task, const std::string& name) {
  TaskEvent* event = task->event();
  if (event == nullptr) return;
  const std::lock_guard lock(notes_mutex_);
  notes_[event->id.load(kRelaxed)].name = name;
  event->noted.store(true, kRelaxed);
}

void Events::argument(Task* task, Object* object, std::size_t position) {
  TaskEvent* event = task->event();
  if (event == nullptr || position >= kEventArgsMax) return;
  Task* producer = producer_of(object);
  event->args[position].store(producer != nullptr ? producer->task_id() : 0, kRelaxed);
}

void Events::ready(Task* task) {
  TaskEvent* event = task->event();
  if (event == nullptr) return;
  event->ready.store(ticks(), kRelaxed);
  event->state.store(task->ops->kind == ObjectKind::actor_call ? TaskState::pending_actor
                                                               : TaskState::pending_node,
                     kRelaxed);
}

void Events::started(Task* task, std::uint32_t attempt) {
  TaskEvent* event = task->event();
  if (event == nullptr) return;
  event->started.store(ticks(), kRelaxed);
  event->attempt.store(attempt, kRelaxed);
  event->worker.store(thread_context.is_worker ? thread_context.worker_number : kDriverWorker,
                      kRelaxed);
  event->state.store(TaskState::running, kRelaxed);
}

void Events::state(Task* task, TaskState state) {
  if (TaskEvent* event = task->event()) event->state.store(state, kRelaxed);
}

void Events::ended(Task* task, TaskState state, std::string name, std::string error) {
  TaskEvent* event = task->event();
  if (event == nullptr) return;
  event->ended.store(ticks(), kRelaxed);
  event->state.store(state, kRelaxed);
  if (!name.empty() || !error.empty()) {
    const std::lock_guard lock(notes_mutex_);
    notes_[event->id.load(kRelaxed)] = {std::move(name), std::move(error)};
    event->noted.store(true, kRelaxed);
  }
  event->live.store(false, std::memory_order_release);
}

std::vector<TaskInfo> Events::snapshot() const {
  std::vector<TaskInfo> tasks;
  if (ring_ == nullptr) return tasks;
  const auto elapsed = static_cast<double>((Clock::now() - time0_).count());
  const double per_tick = elapsed / std::max<double>(1, static_cast<double>(ticks() - tick0_));
  const auto time = [&](const std::atomic<std::uint64_t>& tick) {
    const std::uint64_t value = tick.load(kRelaxed);
    if (value == 0) return std::chrono::nanoseconds(-1);
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(value - tick0_) * per_tick));
  };
  const std::uint64_t next = next_.load(kRelaxed);
  const std::uint64_t count = std::min<std::uint64_t>(next, capacity_);
  for (std::uint64_t i = next - count; i < next; ++i) {
    const TaskEvent& event = ring_[i % capacity_];
    const std::uint64_t id = event.id.load(std::memory_order_acquire);
    if (id == 0) continue;
    TaskInfo info;
    info.task_id = TaskId{id};
    info.parent_id = TaskId{event.parent.load(kRelaxed)};
    info.name = std::string(event.ops.load(kRelaxed)->name());
    info.state = event.state.load(kRelaxed);
    info.attempt = static_cast<int>(event.attempt.load(kRelaxed));
    info.worker_id = WorkerId{event.worker.load(kRelaxed)};
    info.submitter_id = WorkerId{event.submitter.load(kRelaxed)};
    info.actor_id = ActorId{event.actor.load(kRelaxed)};
    const SourceSite site = SourceSite::unpack(event.site.load(kRelaxed));
    info.file = site.file();
    info.line = static_cast<int>(site.line());
    info.submitted = time(event.submitted);
    info.ready = time(event.ready);
    info.started = time(event.started);
    info.ended = time(event.ended);
    for (const auto& argument : event.args) {
      if (const std::uint64_t from = argument.load(kRelaxed); from != 0) {
        info.args.push_back(TaskId{from});
      }
    }
    if (event.noted.load(kRelaxed)) {
      const std::lock_guard lock(notes_mutex_);
      if (const auto note = notes_.find(id); note != notes_.end()) {
        if (!note->second.name.empty()) info.name = note->second.name;
        info.error = note->second.error;
      }
    }
    if (event.id.load(std::memory_order_acquire) == id) tasks.push_back(std::move(info));
  }
  return tasks;
}

}  // namespace detail

}  // namespace ray
