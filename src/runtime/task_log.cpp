#include "runtime/task_log.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace ray::detail {

namespace {

constexpr std::size_t kArgumentsMax = 4;  // As Events keeps them.

bool is_over(TaskState state) { return state >= TaskState::finished; }

}  // namespace

TaskInfo* TaskLog::find(std::uint64_t task) {
  const auto found = numbers_.find(task);
  return found == numbers_.end() ? nullptr
                                 : &tasks_[static_cast<std::size_t>(found->second - dropped_)];
}

void TaskLog::submitted(const TaskSpec& spec, std::string name, ClientId from, Time now) {
  if (!enabled()) return;
  if (tasks_.size() >= capacity_) {
    numbers_.erase(tasks_.front().task_id.value);
    tasks_.pop_front();
    ++dropped_;
  }
  TaskInfo info;
  info.task_id = TaskId{spec.id()};
  info.parent_id = TaskId{spec.parent};
  info.name = std::move(name);
  info.actor_id = ActorId{spec.actor};
  const std::size_t colon = spec.site.rfind(':');
  if (colon != std::string::npos) {
    info.file = spec.site.substr(0, colon);
    info.line = std::atoi(spec.site.c_str() + colon + 1);
  }
  info.submitted = now;
  info.submitter_id = WorkerId{from};
  for (std::size_t i = 0; i < std::min(spec.needs.size(), kArgumentsMax); ++i) {
    info.args.push_back(TaskId{spec.needs[i]});
  }
  numbers_[spec.id()] = dropped_ + tasks_.size();
  tasks_.push_back(std::move(info));
}

void TaskLog::moved(std::uint64_t task, TaskState state, Time now) {
  if (!enabled()) return;
  TaskInfo* const info = find(task);
  if (info == nullptr) return;
  info->state = state;
  if (state == TaskState::pending_node || state == TaskState::pending_actor) {
    if (info->ready.count() < 0) info->ready = now;
  }
}

void TaskLog::began(std::uint64_t task, std::int32_t attempt, ClientId worker, std::int64_t pid,
                    Time now) {
  if (!enabled()) return;
  TaskInfo* const info = find(task);
  if (info == nullptr) return;
  info->state = TaskState::running;
  info->attempt = attempt;
  info->worker_id = WorkerId{worker};
  info->pid = pid;
  info->started = now;
  info->ended = Time(-1);
  info->error.clear();
}

void TaskLog::ended(std::uint64_t task, TaskState state, std::string error, Time now) {
  if (!enabled()) return;
  TaskInfo* const info = find(task);
  if (info == nullptr || is_over(info->state)) return;
  info->state = state;
  info->ended = now;
  info->error = std::move(error);
}

}  // namespace ray::detail
