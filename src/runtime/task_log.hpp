// What became of each task, while tasks are recorded (RuntimeOptions::task_events): the node's part
// of state() and timeline(). A plain value; times are the node's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include <ray/state.hpp>

#include "task/id_map.hpp"
#include "task/messages.hpp"

namespace ray::detail {

class TaskLog {
public:
  using Time = std::chrono::nanoseconds;

  /// The newest `capacity` tasks are kept; 0: nothing is recorded.
  explicit TaskLog(std::size_t capacity) : capacity_(capacity) {}
  bool enabled() const noexcept { return capacity_ != 0; }

  void submitted(const TaskSpec& spec, std::string name, ClientId from, Time now);
  /// It waits or goes on, in that state.
  void moved(std::uint64_t task, TaskState state, Time now);
  void began(std::uint64_t task, std::int32_t attempt, ClientId worker, std::int64_t pid, Time now);
  /// The first end counts, until it begins again.
  void ended(std::uint64_t task, TaskState state, std::string error, Time now);

  /// The newest last.
  const std::deque<TaskInfo>& tasks() const noexcept { return tasks_; }
  std::uint64_t recorded() const noexcept { return dropped_ + tasks_.size(); }
  std::uint64_t dropped() const noexcept { return dropped_; }

private:
  TaskInfo* find(std::uint64_t task);

  std::size_t capacity_;
  std::deque<TaskInfo> tasks_;
  IdMap<std::uint64_t> numbers_;  // From 0 for the first that there ever was.
  std::uint64_t dropped_ = 0;
};

}  // namespace ray::detail
