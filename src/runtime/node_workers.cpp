// Workers that wait, that end, that never begin; and what becomes of what they had.
#include <algorithm>

#include "runtime/node_state.hpp"
#include "task/failure_codec.hpp"

namespace ray::detail {

namespace {

constexpr std::uint32_t kStartsFailedMax = 3;  // In a row: what is ready fails.
constexpr const char* kWorkerPlace =
    "the place where it becomes a worker: main must come to ray::init, or to its first "
    "ray::Runtime "
    "with processes, and wait for nothing before (a lock, a port, a question)";
constexpr NodeTime kStartAgain = std::chrono::seconds(1);
constexpr const char* kNoMemory = "the machine ran out of memory";

}  // namespace

// --- waiting ---

void Node::State::handle(ClientId from, message::Blocked& said) {
  if (said.task == 0) {
    leases.set_away(from, true, now);
    dispatch_needed = true;
    return;
  }
  TaskEntry* entry = find_task(said.task);
  if (entry == nullptr || entry->worker != from || entry->state != TaskState::running) return;
  unblock(*entry);
  if (!leases.block(from, said.task)) return;
  entry->awaits = std::make_unique<AwaitedSet>();
  entry->awaits->objects = std::move(said.objects);
  entry->awaits->count = said.count;
  entry->awaits->may_nest = said.may_nest;
  entry->awaits->order = ++order;
  blocked.emplace(entry->awaits->order, said.task);
  // What it was sent ahead is for others now, or for itself to run on top.
  recall(from);
  if (said.may_nest) nest_awaited(*entry, from);
  look_for_circle(*entry);
  dispatch_needed = true;
}

/// What was sent there and has not begun comes back.
void Node::State::recall(ClientId client) {
  const PoolWorker* worker = leases.find(client);
  if (worker == nullptr || worker->sent.empty() || worker->recalled) return;
  leases.recall(client);
  send(client, message::Recall{});
}

void Node::State::handle(ClientId from, message::Unblocked& said) {
  if (said.task == 0) {
    leases.set_away(from, false, now);
    dispatch_needed = true;
    return;
  }
  TaskEntry* entry = find_task(said.task);
  if (entry == nullptr || entry->worker != from) return;
  unblock(*entry);
}

void Node::State::unblock(TaskEntry& entry) {
  if (entry.asleep != 0) blocked.erase(std::exchange(entry.asleep, 0));
  if (entry.awaits == nullptr) return;
  blocked.erase(entry.awaits->order);
  entry.awaits.reset();
  leases.unblock(entry.worker, entry.spec->id());
  dispatch_needed = true;
}

void Node::State::handle(ClientId from, message::Suspended& said) {
  TaskEntry* entry = find_task(said.task);
  if (entry == nullptr || entry->worker != from || entry->state != TaskState::running) return;
  log.moved(said.task, said.suspended ? ray::TaskState::suspended : ray::TaskState::running, now);
  unblock(*entry);
  const bool in_line = said.awaited == 0 && entry->spec->kind == TaskKind::actor_call;
  if (said.suspended && !in_line) {
    leases.suspend(from, said.task, now);
  } else {
    leases.resume(from, said.task);
  }
  dispatch_needed = true;
  entry->suspended = said.suspended;
  entry->awaited = said.awaited;
  if (!said.suspended) return;
  if (said.awaited != 0) {
    entry->asleep = ++order;
    blocked.emplace(entry->asleep, said.task);
    look_for_circle(*entry);
  } else if (leases.find(from)->calls_blocked != 0) {
    if (const ActorEntry* actor = actors.find(entry->spec->actor)) look_at_lines(*actor);
  }
}

// --- ends ---

void Node::State::inherit(ClientId client, const std::vector<TaskEntry*>& heirs) {
  // Nobody gives credit to a stream that is not read, and nobody can read it from here on.
  if (const auto read = streams.find(client); read != streams.end()) {
    for (const std::uint64_t id : std::exchange(read->second, {})) abandon(*find_task(id));
    streams.erase(client);
  }
  const std::vector<std::uint64_t> ids = references.bequeath(client);
  if (!heirs.empty()) {
    // Their next attempts ask for the same children, by the same ids.
    const auto bequest = std::make_shared<Bequest>();
    bequest->ids = ids;
    bequest->before.reserve(heirs.size());
    for (TaskEntry* heir : heirs) {
      bequest->before.push_back(std::move(heir->bequest));
      heir->bequest = bequest;
    }
    return;
  }
  // What nobody else wants is not made any more, nor what only that needed.
  std::size_t next = unreferenced.size();
  for (const std::uint64_t id : ids) release(id);
  while (next < unreferenced.size()) {
    const std::uint64_t id = unreferenced[next++];
    const ObjectEntry* object = find_object(id);
    if (references.count(id) != 0 || object == nullptr || object->state != ObjectState::pending) {
      continue;
    }
    const std::uint64_t maker = object->producer;
    free_object(id);
    if (TaskEntry* entry = find_task(maker)) abandon(*entry);
  }
}

void Node::State::drop_bequest(TaskEntry& entry) {
  // The last heir gives back what was left to them, and what was left to them before.
  std::vector<std::shared_ptr<Bequest>> open;
  if (entry.bequest != nullptr) open.push_back(std::move(entry.bequest));
  while (!open.empty()) {
    const std::shared_ptr<Bequest> bequest = std::move(open.back());
    open.pop_back();
    if (bequest.use_count() != 1) continue;
    for (const std::uint64_t id : bequest->ids) release(id);
    for (auto& before : bequest->before) {
      if (before != nullptr) open.push_back(std::move(before));
    }
  }
}

void Node::State::worker_ended(ClientId client, const std::string& how) {
  const bool was_starting =
      leases.find(client) != nullptr && leases.find(client)->phase == PoolWorker::Phase::starting;
  std::optional<PoolWorker> worker = leases.end(client);
  if (!worker) return;
  store.client_gone(client, now, store_actions);
  for (auto promise = promises.begin(); promise != promises.end();) {
    if (promise->second != client) {
      ++promise;
      continue;
    }
    seal_failure(promise->first,
                 failure(ErrorCode::object_lost, "object " + hex_id(promise->first) +
                                                     " will not come: its process " + how));
    promise = promises.erase(promise);
  }
  if (const auto left = leaving.find(client); left != leaving.end()) {
    ledger().release(left->second);
    leaving.erase(left);
  }
  waiting_fetches.erase(waiting_fetches.lower_bound({client, 0}),
                        waiting_fetches.upper_bound({client, UINT64_MAX}));
  std::vector<TaskEntry*> begun;
  std::vector<TaskEntry*> waiting;
  const auto collect = [&](const LeasedTask& leased) {
    TaskEntry* entry = find_task(leased.task);
    if (entry == nullptr || entry->worker != client || !entry->at_worker()) return;
    (entry->state == TaskState::running ? begun : waiting).push_back(entry);
    if (entry->awaits != nullptr) blocked.erase(entry->awaits->order);
    entry->awaits.reset();
    if (entry->asleep != 0) blocked.erase(std::exchange(entry->asleep, 0));
  };
  for (const LeasedTask& leased : worker->sent) collect(leased);
  for (const LeasedTask& leased : worker->stack) collect(leased);
  for (const auto& [id, leased] : worker->suspended) collect(leased);
  for (const auto& [id, leased] : worker->calls) collect(leased);
  // Suspended ones and calls come out of a hash table.
  std::sort(begun.begin(), begun.end(), [](const TaskEntry* left, const TaskEntry* right) {
    return left->begun_order < right->begun_order;
  });
  if (worker->actor != 0) {
    std::sort(waiting.begin(), waiting.end(), [](const TaskEntry* left, const TaskEntry* right) {
      return left->spec->id() < right->spec->id();
    });
  }
  // First what they leave, so that what is dropped with it is not tried again.
  const std::vector<TaskEntry*> heirs = tried_again(begun, *worker);
  inherit(client, heirs);
  if (worker->actor != 0) {
    actor_lost_worker(*worker, how, begun, waiting);
  } else {
    for (TaskEntry* entry : begun) task_lost_worker(*entry, how, *worker);
    for (auto entry = waiting.rbegin(); entry != waiting.rend(); ++entry) {
      if ((*entry)->decided) {
        answered(**entry);
      } else {
        requeue(**entry, true);
      }
    }
  }
  if (was_starting) start_failed("it " + how + " before " + kWorkerPlace);
  faulty.erase(client);
  for_memory.erase(client);
  for_cancel.erase(client);
  dispatch_needed = true;
  if (shut && leases.size() == 0) kill_at.reset();
}

std::vector<TaskEntry*> Node::State::tried_again(const std::vector<TaskEntry*>& begun,
                                                 const PoolWorker& worker) {
  std::vector<TaskEntry*> heirs;
  if (shut) return heirs;
  for (TaskEntry* entry : begun) {
    if (entry->spec->creates) continue;
    if (entry->decided ? entry->revived : outlives(*entry, worker)) heirs.push_back(entry);
  }
  return heirs;
}

/// Whether a task that had begun at a worker that is gone runs once more.
bool Node::State::outlives(const TaskEntry& entry, const PoolWorker& worker) {
  if (shut || entry.decided) return false;
  if (worker.actor != 0) {
    const ActorEntry* actor = actors.find(worker.actor);
    return actor != nullptr && actor->state != ActorEntry::State::dead && actor->may_restart() &&
           (actor->worker == worker.client || actor->worker == 0) &&
           entry.deaths + 1 < limits.poison_kills && may_try_again(entry);
  }
  if (for_cancel.contains(worker.client)) return true;
  const bool poison =
      entry.deaths + 1 >= limits.poison_kills && !for_memory.contains(worker.client);
  return !poison && may_try_again(entry);
}

void Node::State::task_lost_worker(TaskEntry& entry, const std::string& how,
                                   const PoolWorker& worker) {
  if (entry.decided) {
    answered(entry);
    return;
  }
  const bool again = outlives(entry, worker);
  const bool memory = for_memory.contains(worker.client);
  entry.worker = 0;
  if (for_cancel.contains(worker.client) && again) {
    requeue(entry, true);
    return;
  }
  if (!memory) ++entry.deaths;
  if (again) {
    ++entry.attempt;
    requeue(entry, true);
    return;
  }
  entry.state = TaskState::waiting;
  const std::string process = "worker process " + std::to_string(worker.pid) + " ";
  if (memory) {
    fail_task(entry, failure(ErrorCode::out_of_memory,
                             process + "was killed because " + kNoMemory + " while it ran " +
                                 task_words(entry) + "; it may have run in part",
                             name_of(entry)));
  } else if (entry.deaths >= limits.poison_kills) {
    fail_task(entry,
              failure(ErrorCode::worker_crashed,
                      task_words(entry) + " killed " + std::to_string(entry.deaths) +
                          " workers (the last, " + process + how + ") and is not tried again",
                      name_of(entry)));
  } else {
    fail_task(entry, failure(ErrorCode::worker_crashed,
                             process + how + " while it ran " + task_words(entry) +
                                 ", which may have run in part; no retries are left (attempt " +
                                 std::to_string(entry.attempt + 1) + ")",
                             name_of(entry)));
  }
}

// --- starts that fail ---

void Node::State::worker_failed(ClientId client, const std::string& why) {
  if (!leases.end(client)) return;
  faulty.erase(client);
  start_failed(why);
  dispatch_needed = true;
}

void Node::State::start_failed(const std::string& why) {
  if (broken.empty() && ++start_failures < kStartsFailedMax) return;
  start_failures = 0;
  if (broken.empty() && others_work()) {
    start_again = now + kStartAgain;
    return;
  }
  const Bytes text = !broken.empty() ? broken
                                     : failure(ErrorCode::worker_crashed,
                                               "no worker process could be started: " + why);
  for (const std::uint64_t id : queue.all_ready()) {
    failing.emplace_back(id, extend_failure(text, name_of(*find_task(id))));
  }
}

/// Whether some worker will take what is ready, sooner or later.
bool Node::State::others_work() const {
  for (const ClientId client : leases.clients()) {
    const PoolWorker& worker = *leases.find(client);
    if (worker.phase == PoolWorker::Phase::ready && worker.actor == 0 && !worker.away &&
        !worker.is_blocked()) {
      return true;
    }
  }
  return false;
}

// --- memory and time ---

bool Node::State::relieve_memory() {
  struct Candidate {
    std::size_t count = 0;
    const TaskEntry* newest = nullptr;
    const TaskEntry* retriable = nullptr;
  };
  std::map<std::uint64_t, Candidate> functions;
  std::size_t running = 0;
  const auto newer = [](const TaskEntry* old, const TaskEntry* entry) {
    return old == nullptr || old->begun_order < entry->begun_order ? entry : old;
  };
  for (const ClientId client : leases.clients()) {
    const PoolWorker& worker = *leases.find(client);
    if (worker.phase != PoolWorker::Phase::ready || worker.stack.empty()) continue;
    ++running;
    const TaskEntry* entry = find_task(worker.stack.back().task);
    if (entry == nullptr) continue;
    Candidate& candidate = functions[entry->spec->function];
    ++candidate.count;
    candidate.newest = newer(candidate.newest, entry);
    if (may_try_again(*entry)) candidate.retriable = newer(candidate.retriable, entry);
  }
  if (running < 2) return false;
  const Candidate* best = nullptr;
  for (const auto& [function, candidate] : functions) {
    const auto rank = [](const Candidate& of) {
      return std::make_pair(of.retriable != nullptr, of.count);
    };
    if (best == nullptr || rank(*best) < rank(candidate)) best = &candidate;
  }
  if (best == nullptr) return false;
  const TaskEntry* victim = best->retriable != nullptr ? best->retriable : best->newest;
  for_memory.insert(victim->worker);
  kill(victim->worker, "out of memory");
  return true;
}

void Node::State::tick() {
  store.tick(now, store_actions);
  while (const auto client = leases.oldest_starting()) {
    if (leases.find(*client)->since + limits.start_timeout > now) break;
    const std::string within = std::to_string(limits.start_timeout / std::chrono::seconds(1));
    kill(*client, "it did not say Hello in time");
    start_failed("after " + within + " seconds it had not come to " + kWorkerPlace);
  }
  while (const auto client = spare_worker()) {
    if (leases.find(*client)->since + limits.idle_worker > now) break;
    leases.end_soon(*client, now);
    send(*client, message::Exit{});
  }
  if (kill_at && *kill_at <= now) {
    kill_at.reset();
    for (const ClientId client : leases.clients()) {
      out->push_back(decision::KillWorker{client, "it did not end in time"});
    }
  }
  dispatch_needed = true;
}

/// The worker that has been idle for longest, where there are more than slots.
std::optional<ClientId> Node::State::spare_worker() const {
  const auto slots = static_cast<std::size_t>(limits.total.cpu / kPlainCpu);
  if (leases.pool() <= std::max<std::size_t>(slots, limits.prestart)) return std::nullopt;
  return leases.oldest_idle();
}

std::optional<NodeTime> Node::State::deadline() const {
  std::optional<NodeTime> first = store.deadline();
  const auto at = [&](NodeTime time) { first = first ? std::min(*first, time) : time; };
  if (const auto client = leases.oldest_starting()) {
    at(leases.find(*client)->since + limits.start_timeout);
  }
  if (const auto client = spare_worker()) at(leases.find(*client)->since + limits.idle_worker);
  if (stuck_since && now < *stuck_since + kStuckFor) at(*stuck_since + kStuckFor);
  if (kill_at) at(*kill_at);
  if (start_again > now) at(start_again);
  return first;
}

}  // namespace ray::detail
