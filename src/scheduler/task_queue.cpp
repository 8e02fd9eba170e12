#include "scheduler/task_queue.hpp"

#include <algorithm>

namespace ray::detail {

namespace {

/// So many lines that do not fit are looked at; behind them nobody overtakes.
constexpr std::size_t kLinesMax = 64;
/// Of a line with more who left than who are there, beyond so many, the places are closed up.
constexpr std::size_t kGoneMax = 64;

std::string demand_key(const Demand& demand) {
  std::string key = std::to_string(demand.cpu);
  for (const auto& [name, units] : demand.others) {
    key += '\0' + name + '\0' + std::to_string(units);
  }
  return key;
}

}  // namespace

TaskQueue::TaskQueue(Demand total) : ledger_(std::move(total)) { plain_.demand.cpu = kPlainCpu; }

void TaskQueue::wait(std::uint64_t task, std::span<const std::uint64_t> objects) {
  const std::int64_t number = ++newest_;
  waiting_[task] = {number, objects.size()};
  for (const std::uint64_t object : objects) waiters_[object].push_back({task, number});
}

std::vector<TaskQueue::Woken> TaskQueue::sealed(std::uint64_t object) {
  std::vector<Woken> woken;
  const auto found = waiters_.find(object);
  if (found == waiters_.end()) return woken;
  for (const Ticket& ticket : found->second) {
    const auto waiting = waiting_.find(ticket.task);
    if (waiting == waiting_.end() || waiting->second.number != ticket.number) continue;
    const bool complete = --waiting->second.missing == 0;
    if (complete) waiting_.erase(waiting);
    woken.push_back({ticket.task, complete});
  }
  waiters_.erase(found);
  return woken;
}

TaskQueue::Line& TaskQueue::line_of(const Demand& demand) {
  if (is_plain_demand(demand)) return plain_;
  Line& line = lines_[demand_key(demand)];
  if (line.count == 0) line.demand = demand;
  return line;
}

void TaskQueue::push(std::uint64_t task, const Demand& demand, bool first) {
  Line& line = line_of(demand);
  const std::int64_t number = first ? --oldest_ : ++newest_;
  ready_[task] = {number, &line};
  ++line.count;
  if (first) {
    line.tasks.push_front({task, number});
  } else {
    line.tasks.push_back({task, number});
  }
  settle(line);
}

void TaskQueue::settle(Line& line) {
  while (!line.tasks.empty()) {
    const auto ready = ready_.find(line.tasks.front().task);
    if (ready != ready_.end() && ready->second.number == line.tasks.front().number) break;
    line.tasks.pop_front();
  }
  const bool empty = line.tasks.empty();
  if (!empty && line.listed && line.age == line.tasks.front().number) return;
  if (line.listed) by_age_.erase({line.age, &line});
  line.listed = !empty;
  if (!empty) {
    line.age = line.tasks.front().number;
    by_age_.insert({line.age, &line});
  } else if (&line != &plain_) {
    lines_.erase(demand_key(line.demand));
  }
}

std::uint64_t TaskQueue::take_first(Line& line) {
  const std::uint64_t task = line.tasks.front().task;
  line.tasks.pop_front();
  --line.count;
  ready_.erase(task);
  settle(line);
  return task;
}

TaskQueue::Line* TaskQueue::fitting(std::int64_t cpu) {
  std::set<std::string> short_of;
  bool short_of_cpu = false;
  std::size_t looked = 0;
  for (const auto& [age, line] : by_age_) {
    bool fits = line->demand.cpu == 0 || (line->demand.cpu <= cpu && !short_of_cpu);
    if (!fits) short_of_cpu = true;
    for (const auto& [name, units] : line->demand.others) {
      const auto there = ledger_.available().find(name);
      const bool enough = there != ledger_.available().end() && there->second >= units;
      if (enough && !short_of.contains(name)) continue;
      fits = false;
      short_of.insert(name);
    }
    if (fits) return line;
    if (++looked == kLinesMax) break;
  }
  return nullptr;
}

std::optional<std::uint64_t> TaskQueue::pick(std::int64_t cpu) {
  Line* line = fitting(cpu);
  if (line == nullptr || !ledger_.try_reserve(line->demand)) return std::nullopt;
  return take_first(*line);
}

bool TaskQueue::has_fitting(std::int64_t cpu) { return fitting(cpu) != nullptr; }

std::optional<std::uint64_t> TaskQueue::peek_plain(std::int64_t cpu) {
  if (plain_.tasks.empty()) return std::nullopt;
  std::size_t looked = 0;
  for (const auto& [age, line] : by_age_) {
    if (line == &plain_) break;
    if (line->demand.cpu > cpu || ++looked == kLinesMax) return std::nullopt;
  }
  return plain_.tasks.front().task;
}

std::optional<std::uint64_t> TaskQueue::pick_plain(std::int64_t cpu) {
  if (!peek_plain(cpu)) return std::nullopt;
  return take_first(plain_);
}

bool TaskQueue::plain_is_oldest() const {
  return !by_age_.empty() && by_age_.begin()->second == &plain_;
}

std::vector<std::uint64_t> TaskQueue::all_ready() const {
  std::vector<std::pair<std::int64_t, std::uint64_t>> ordered;
  for (const auto& [task, ready] : ready_) ordered.emplace_back(ready.number, task);
  std::sort(ordered.begin(), ordered.end());
  std::vector<std::uint64_t> tasks;
  for (const auto& [number, task] : ordered) tasks.push_back(task);
  return tasks;
}

void TaskQueue::forget(std::uint64_t task) {
  waiting_.erase(task);
  const auto ready = ready_.find(task);
  if (ready == ready_.end()) return;
  Line& line = *ready->second.line;
  --line.count;
  ready_.erase(ready);
  if (line.tasks.size() > 2 * line.count + kGoneMax) {
    std::erase_if(line.tasks, [&](const Ticket& ticket) {
      const auto there = ready_.find(ticket.task);
      return there == ready_.end() || there->second.number != ticket.number;
    });
  }
  settle(line);
}

}  // namespace ray::detail
