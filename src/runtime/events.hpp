// What happened to each task, when it is asked for (RuntimeOptions::task_events): a ring of
// records that tasks write their times into and that state() and timeline() read.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <ray/runtime/engine.hpp>
#include <ray/state.hpp>

namespace ray::detail {

inline constexpr std::size_t kEventArgsMax = 4;

/// One task's story. Threads: written by whoever moves the task on, read by anyone; relaxed
/// atomics, because a reader only wants a picture (`id` is checked before and after).
struct TaskEvent {
  std::atomic<std::uint64_t> id{0};
  std::atomic<std::uint64_t> parent{0};
  std::atomic<const ObjectOps*> ops{nullptr};
  std::atomic<std::uint64_t> site{0};
  std::atomic<std::uint64_t> submitted{0};  // Ticks; 0: not yet.
  std::atomic<std::uint64_t> ready{0};
  std::atomic<std::uint64_t> started{0};
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::uint64_t> actor{0};
  std::atomic<std::uint32_t> submitter{0};  // Worker numbers; 0: a driver thread.
  std::atomic<std::uint32_t> worker{0};
  std::atomic<std::uint32_t> attempt{0};
  std::atomic<TaskState> state{TaskState::pending_args};
  std::atomic<bool> live{false};                                 // A task still writes here.
  std::atomic<bool> noted{false};                                // More stands in Events::notes_.
  std::array<std::atomic<std::uint64_t>, kEventArgsMax> args{};  // Objects it takes.
};

/// Owns: the ring, made when events are switched on.
class Events {
public:
  void enable(std::size_t capacity);
  bool enabled() const noexcept { return ring_ != nullptr; }

  /// Starts a story for `task`; its site moves there. None when the next record is still in use.
  void submitted(Task* task);
  /// The name its options give it.
  void named(Task* task, const std::string& name);
  static void argument(Task* task, Object* object, std::size_t position);
  static void ready(Task* task);
  static void started(Task* task, std::uint32_t attempt);
  static void state(Task* task, TaskState state);
  /// Where it was submitted, as " (file.cpp:12)"; nothing if that is not known.
  static std::string where(const Task* task);
  /// The same, whole: "folder/file.cpp:12".
  static std::string site(const Task* task);
  /// The task is over; with its name and error where they are not the usual.
  void ended(Task* task, TaskState state, std::string name, std::string error);

  std::vector<TaskInfo> snapshot() const;
  std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }
  std::uint64_t recorded() const noexcept { return next_.load(std::memory_order_relaxed); }

private:
  struct Note {
    std::string name;
    std::string error;
  };

  std::unique_ptr<TaskEvent[]> ring_;
  std::size_t capacity_ = 0;
  std::uint64_t tick0_ = 0;
  Clock::time_point time0_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint64_t> dropped_{0};
  mutable std::mutex notes_mutex_;
  std::unordered_map<std::uint64_t, Note> notes_;  // Guarded by notes_mutex_; by task id.
};

/// A cheap clock: the time-stamp counter where it is steady, else the steady clock.
std::uint64_t ticks() noexcept;

}  // namespace ray::detail
