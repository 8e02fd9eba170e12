#include "scheduler/leases.hpp"

#include <algorithm>
#include <utility>

namespace ray::detail {

namespace {

constexpr double kNewest = 0.2;                // The weight of the newest measurement in a mean.
constexpr std::size_t kFunctionsMax = 65'536;  // Whose means are kept.

/// From the back, where it mostly is.
std::vector<LeasedTask>::iterator find_leased(std::vector<LeasedTask>& tasks, std::uint64_t task) {
  for (auto it = tasks.end(); it != tasks.begin();) {
    if ((--it)->task == task) return it;
  }
  return tasks.end();
}

}  // namespace

PoolWorker* Leases::worker(ClientId client) {
  const auto found = workers_.find(client);
  return found == workers_.end() ? nullptr : &found->second;
}

const PoolWorker* Leases::find(ClientId client) const {
  const auto found = workers_.find(client);
  return found == workers_.end() ? nullptr : &found->second;
}

std::vector<ClientId> Leases::clients() const {
  std::vector<ClientId> clients;
  for (const auto& [client, worker] : workers_) clients.push_back(client);
  std::sort(clients.begin(), clients.end());
  return clients;
}

std::optional<ClientId> Leases::start(PoolTime now) {
  if (!may_start()) return std::nullopt;
  PoolWorker& worker = workers_[++last_];
  worker.client = last_;
  worker.since = now;
  starting_.insert({now, last_});
  ++lively_;
  ++pool_;
  return last_;
}

bool Leases::greet(ClientId client, std::int64_t pid, PoolTime now) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr || worker->phase != PoolWorker::Phase::starting) return false;
  starting_.erase({worker->since, client});
  worker->phase = PoolWorker::Phase::ready;
  worker->pid = pid;
  worker->since = now;
  settle(*worker, now);
  return true;
}

void Leases::end_soon(ClientId client, PoolTime now) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr || worker->phase == PoolWorker::Phase::ending) return;
  if (worker->phase == PoolWorker::Phase::starting) starting_.erase({worker->since, client});
  worker->phase = PoolWorker::Phase::ending;
  worker->since = now;
  if (worker->actor == 0) --pool_;
  settle(*worker, now);
}

std::optional<PoolWorker> Leases::end(ClientId client) {
  const auto found = workers_.find(client);
  if (found == workers_.end()) return std::nullopt;
  PoolWorker& worker = found->second;
  if (worker.phase == PoolWorker::Phase::starting) starting_.erase({worker.since, client});
  if (worker.phase != PoolWorker::Phase::ending && worker.actor == 0) --pool_;
  if (worker.lively) --lively_;
  if (worker.idle) idle_.erase(*worker.idle);
  if (worker.ahead) by_ahead_.erase({*worker.ahead, client});
  free_cpu_ += worker.charge;
  PoolWorker gone = std::move(worker);
  workers_.erase(found);
  return gone;
}

std::optional<ClientId> Leases::oldest_starting() const {
  if (starting_.empty()) return std::nullopt;
  return starting_.begin()->second;
}

std::optional<ClientId> Leases::newest_idle(bool alone) const {
  for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {
    if (!alone || workers_.at(*it).suspended.empty()) return *it;
  }
  return std::nullopt;
}

std::optional<ClientId> Leases::oldest_idle() const {
  for (const ClientId client : idle_) {
    if (workers_.at(client).suspended.empty()) return client;
  }
  return std::nullopt;
}

bool Leases::is_lively(const PoolWorker& worker) const {
  if (worker.phase != PoolWorker::Phase::ready) return true;
  if (worker.actor != 0) return worker.calls_go_on();
  if (worker.stack.empty()) return !worker.sent.empty();
  if (!worker.stack.back().blocked) return true;
  // What it was sent will be begun, or given back.
  return !worker.sent.empty();
}

std::int64_t Leases::charge_of(const PoolWorker& worker) const {
  if (worker.lends) return 0;
  if (worker.actor != 0) {
    // It lends what it has while all that it does is wait.
    const bool waits = !worker.calls.empty() && !worker.calls_go_on();
    return waits ? 0 : worker.actor_cpu;
  }
  if (worker.phase == PoolWorker::Phase::starting || worker.away) return 0;
  if (!worker.stack.empty() && !worker.stack.back().blocked) return worker.stack.back().cpu;
  for (const LeasedTask& task : worker.sent) {
    if (worker.stack.empty() || task.nested) return task.cpu;
  }
  return 0;
}

std::optional<std::size_t> Leases::ahead_of(const PoolWorker& worker) const {
  if (worker.phase != PoolWorker::Phase::ready || worker.actor != 0 || !worker.has_task() ||
      worker.recalled || worker.closed || worker.away || worker.lends || worker.is_blocked()) {
    return std::nullopt;
  }
  // A lease for something other than one CPU is for one task.
  const LeasedTask& now = worker.stack.empty() ? worker.sent.front() : worker.stack.back();
  if (!now.plain || worker.stack.size() > 1) return std::nullopt;
  return worker.sent.size() - (worker.stack.empty() ? 1 : 0);
}

void Leases::settle(PoolWorker& worker, PoolTime now) {
  const std::int64_t charge = charge_of(worker);
  free_cpu_ += worker.charge - charge;
  worker.charge = charge;
  if (const bool lively = is_lively(worker); lively != worker.lively) {
    lively ? ++lively_ : --lively_;
    worker.lively = lively;
  }
  const bool idle = worker.phase == PoolWorker::Phase::ready && worker.actor == 0 &&
                    !worker.has_task() && !worker.away;
  if (idle && !worker.idle) {
    worker.since = now;
    worker.recalled = false;
    worker.closed = false;
    worker.idle = idle_.insert(idle_.end(), worker.client);
  } else if (!idle && worker.idle) {
    idle_.erase(*worker.idle);
    worker.idle.reset();
  }
  if (worker.sent.empty()) worker.recalled = false;
  const auto ahead = ahead_of(worker);
  if (ahead == worker.ahead) return;
  if (worker.ahead && ahead) {
    auto node = by_ahead_.extract({*worker.ahead, worker.client});
    node.value().first = *ahead;
    by_ahead_.insert(std::move(node));
  } else if (worker.ahead) {
    by_ahead_.erase({*worker.ahead, worker.client});
  } else {
    by_ahead_.insert({*ahead, worker.client});
  }
  worker.ahead = ahead;
}

void Leases::give_to_actor(ClientId client, std::uint64_t actor, std::int64_t cpu,
                           std::int32_t max_concurrency) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return;
  worker->actor = actor;
  worker->actor_cpu = cpu;
  const auto limit = static_cast<std::size_t>(std::max(0, max_concurrency));
  worker->together = std::max<std::size_t>(1, limit);
  worker->begun_max = limit == 0 ? kCoroutinesMax : limit;
  --pool_;
  settle(*worker, worker->since);
}

void Leases::send(ClientId client, const LeasedTask& task) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return;
  if (worker->actor != 0) {
    worker->calls[task.task] = task;
  } else {
    worker->sent.push_back(task);
    LeasedTask& sent = worker->sent.back();
    sent.expected = mean(task.function).value_or(limits_.pipeline_time);
    worker->expected += sent.expected;
  }
  settle(*worker, worker->since);
}

bool Leases::began(ClientId client, std::uint64_t task, PoolTime now) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return false;
  if (worker->actor != 0) {
    const auto call = worker->calls.find(task);
    if (call == worker->calls.end() || call->second.begun != PoolTime::zero()) return false;
    call->second.begun = std::max(now, PoolTime(1));
    ++worker->calls_begun;
    settle(*worker, now);
    return true;
  }
  for (auto it = worker->sent.begin(); it != worker->sent.end(); ++it) {
    if (it->task != task) continue;
    worker->closed = false;
    worker->expected -= it->expected;
    worker->stack.push_back(*it);
    worker->stack.back().begun = now;
    worker->sent.erase(it);
    settle(*worker, now);
    return true;
  }
  return false;
}

void Leases::measure(const LeasedTask& task, PoolTime now) {
  if (task.begun == PoolTime::zero() || task.waited) return;
  const double took = static_cast<double>((now - task.begun).count());
  if (means_.size() >= kFunctionsMax && !means_.contains(task.function)) return;
  const auto [mean, first] = means_.try_emplace(task.function, took);
  if (!first) mean->second += kNewest * (took - mean->second);
}

bool Leases::done(ClientId client, std::uint64_t task, PoolTime now) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return false;
  bool found = false;
  if (worker->actor != 0) {
    if (const auto call = worker->calls.find(task); call != worker->calls.end()) {
      if (call->second.begun != PoolTime::zero()) --worker->calls_begun;
      if (call->second.blocked) --worker->calls_blocked;
      if (call->second.suspended) --worker->calls_suspended;
      worker->calls.erase(call);
      found = true;
    }
  } else if (auto it = find_leased(worker->stack, task); it != worker->stack.end()) {
    measure(*it, now);
    worker->stack.erase(it);
    found = true;
  } else if (auto sent = find_leased(worker->sent, task); sent != worker->sent.end()) {
    worker->expected -= sent->expected;
    worker->sent.erase(sent);
    found = true;
  } else {
    found = worker->suspended.erase(task) != 0;
  }
  if (!found) return false;
  worker->closed = false;
  settle(*worker, now);
  return true;
}

bool Leases::give_back(ClientId client, std::uint64_t task, PoolTime now) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr || worker->actor != 0) return false;
  const auto it = find_leased(worker->sent, task);
  if (it == worker->sent.end()) return false;
  worker->expected -= it->expected;
  worker->sent.erase(it);
  settle(*worker, now);
  return true;
}

bool Leases::block(ClientId client, std::uint64_t task) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return false;
  LeasedTask* leased = nullptr;
  if (worker->actor != 0) {
    const auto call = worker->calls.find(task);
    if (call != worker->calls.end() && call->second.begun != PoolTime::zero()) {
      leased = &call->second;
    }
  } else if (auto it = find_leased(worker->stack, task); it != worker->stack.end()) {
    leased = &*it;
  }
  if (leased == nullptr || leased->blocked) return false;
  worker->closed = false;
  leased->blocked = true;
  leased->waited = true;
  if (worker->actor != 0) ++worker->calls_blocked;
  settle(*worker, worker->since);
  return true;
}

bool Leases::unblock(ClientId client, std::uint64_t task) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return false;
  LeasedTask* leased = nullptr;
  if (worker->actor != 0) {
    const auto call = worker->calls.find(task);
    if (call != worker->calls.end()) leased = &call->second;
  } else if (auto it = find_leased(worker->stack, task); it != worker->stack.end()) {
    leased = &*it;
  }
  if (leased == nullptr || !leased->blocked) return false;
  leased->blocked = false;
  if (worker->actor != 0) --worker->calls_blocked;
  settle(*worker, worker->since);
  return true;
}

void Leases::set_away(ClientId client, bool away, PoolTime now) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr || worker->actor != 0) return;
  worker->away = away;
  settle(*worker, now);
}

/// Of a call of an actor.
bool Leases::set_suspended(PoolWorker& worker, std::uint64_t task, bool suspended) {
  const auto call = worker.calls.find(task);
  if (call == worker.calls.end() || call->second.begun == PoolTime::zero()) return false;
  if (std::exchange(call->second.suspended, suspended) == suspended) return true;
  worker.calls_suspended += suspended ? 1 : std::size_t(-1);
  settle(worker, worker.since);
  return true;
}

bool Leases::suspend(ClientId client, std::uint64_t task, PoolTime now) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return false;
  if (worker->actor != 0) return set_suspended(*worker, task, true);
  const auto it = find_leased(worker->stack, task);
  if (it == worker->stack.end() || it->blocked) return false;
  it->waited = true;
  worker->suspended[task] = *it;
  worker->stack.erase(it);
  settle(*worker, now);
  return true;
}

bool Leases::resume(ClientId client, std::uint64_t task) {
  PoolWorker* worker = this->worker(client);
  if (worker == nullptr) return false;
  if (worker->actor != 0) return set_suspended(*worker, task, false);
  const auto it = worker->suspended.find(task);
  if (it == worker->suspended.end()) return false;
  worker->stack.push_back(it->second);
  // On top of one that is blocked, or next when that ends: so it comes about in the worker.
  worker->stack.back().nested = worker->stack.size() > 1;
  worker->suspended.erase(it);
  settle(*worker, worker->since);
  return true;
}

void Leases::lend(ClientId client, bool lends) {
  if (PoolWorker* worker = this->worker(client)) {
    worker->lends = lends;
    settle(*worker, worker->since);
  }
}

std::optional<ClientId> Leases::with_room(std::uint64_t function) const {
  if (by_ahead_.empty()) return std::nullopt;
  const auto [ahead, client] = *by_ahead_.begin();
  if (ahead >= limits_.pipeline_max) return std::nullopt;
  const auto known = mean(function);
  if (!known) return ahead == 0 ? std::optional(client) : std::nullopt;
  if (*known * static_cast<std::int64_t>(ahead + 1) > limits_.pipeline_time) return std::nullopt;
  // Those that stand there may take longer than this one.
  const PoolWorker& worker = workers_.at(client);
  PoolTime waits = *known + worker.expected;
  if (worker.stack.empty()) waits -= worker.sent.front().expected;
  return waits <= limits_.pipeline_time ? std::optional(client) : std::nullopt;
}

std::optional<ClientId> Leases::with_most_ahead() const {
  if (by_ahead_.empty() || by_ahead_.rbegin()->first == 0) return std::nullopt;
  return by_ahead_.rbegin()->second;
}

void Leases::recall(ClientId client) {
  if (PoolWorker* worker = this->worker(client)) {
    worker->recalled = true;
    settle(*worker, worker->since);
  }
}

void Leases::recall_answered(ClientId client) {
  if (PoolWorker* worker = this->worker(client)) {
    worker->recalled = false;
    worker->closed = true;
    settle(*worker, worker->since);
  }
}

std::optional<PoolTime> Leases::mean(std::uint64_t function) const {
  const auto found = means_.find(function);
  if (found == means_.end()) return std::nullopt;
  return PoolTime(static_cast<std::int64_t>(found->second));
}

}  // namespace ray::detail
