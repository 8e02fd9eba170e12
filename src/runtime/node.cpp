#include "runtime/node.hpp"

#include <algorithm>

#include <ray/config.hpp>

#include "runtime/node_state.hpp"

namespace ray::detail {

Node::State::State(NodeLimits given)
    : limits(std::move(given)),
      leases({limits.total.cpu, limits.workers_max, limits.pipeline_max, limits.pipeline_time}),
      queue(limits.total),
      store({limits.store_bytes, limits.segment_bytes, limits.spill_bytes, limits.full_grace}),
      log(limits.task_events) {}

Node::Node(NodeLimits limits) : state_(std::make_unique<State>(std::move(limits))) {}
Node::~Node() = default;
Node::Node(Node&&) noexcept = default;
Node& Node::operator=(Node&&) noexcept = default;

// --- one event at a time ---

void Node::State::begin(NodeTime time, Decisions& decisions) {
  now = std::max(now, time);
  out = &decisions;
}

void Node::State::finish() {
  for (;;) {
    if (!unreferenced.empty()) {
      free_unreferenced();
    } else if (!failing.empty()) {
      const auto [id, why] = std::move(failing.front());
      failing.pop_front();
      TaskEntry* entry = find_task(id);
      if (entry != nullptr && !entry->decided && entry->state != TaskState::kept) {
        fail_task(*entry, why);
      }
    } else if (!store_actions.empty()) {
      do_store_actions();
    } else if (!actors_to_send.empty()) {
      const std::uint64_t id = actors_to_send.back();
      actors_to_send.pop_back();
      if (ActorEntry* actor = actors.find(id)) send_calls(*actor);
    } else if (lineage_bytes > limits.lineage_bytes) {
      forget_kept(alone.begin()->second);
    } else if (dispatch_needed) {
      dispatch_needed = false;
      dispatch();
    } else {
      break;
    }
  }
  out = nullptr;
}

void Node::receive(ClientId from, Message message, NodeTime now, Decisions& decisions) {
  state_->begin(now, decisions);
  state_->receive(from, message);
  state_->finish();
}

void Node::worker_ended(ClientId client, const std::string& how, NodeTime now,
                        Decisions& decisions) {
  state_->begin(now, decisions);
  state_->worker_ended(client, how);
  state_->finish();
}

void Node::worker_failed(ClientId client, const std::string& why, NodeTime now,
                         Decisions& decisions) {
  state_->begin(now, decisions);
  state_->worker_failed(client, why);
  state_->finish();
}

void Node::segment_made(std::uint32_t segment, bool made, NodeTime now, Decisions& decisions,
                        const std::string& why) {
  state_->begin(now, decisions);
  state_->memory_fault = why;
  state_->store.segment_made(segment, made, state_->now, state_->store_actions);
  state_->finish();
}

void Node::spilled(std::uint64_t object, std::optional<std::uint64_t> handle, NodeTime now,
                   Decisions& decisions, const std::string& why) {
  state_->begin(now, decisions);
  state_->disk_fault = why;
  state_->store.spilled(object, handle, state_->now, state_->store_actions);
  state_->finish();
}

void Node::restored(std::uint64_t object, bool intact, NodeTime now, Decisions& decisions) {
  state_->begin(now, decisions);
  state_->store.restored(object, intact, state_->now, state_->store_actions);
  state_->finish();
}

bool Node::relieve_memory(NodeTime now, Decisions& decisions) {
  state_->begin(now, decisions);
  const bool relieved = state_->relieve_memory();
  state_->finish();
  return relieved;
}

void Node::tick(NodeTime now, Decisions& decisions) {
  state_->begin(now, decisions);
  state_->tick();
  state_->finish();
}

void Node::shut_down(NodeTime now, Decisions& decisions) {
  state_->begin(now, decisions);
  state_->shut_down();
  state_->finish();
}

// --- questions ---

std::optional<NodeTime> Node::deadline() const { return state_->deadline(); }

std::vector<Node::WorkerState> Node::workers() const { return state_->worker_states(); }

Demand Node::available() const {
  return {state_->leases.free_cpu(), state_->queue.ledger().available()};
}

Node::Counts Node::counts() const {
  Counts counts;
  counts.tasks = state_->tasks.size() - state_->kept;
  counts.objects = state_->objects.size();
  counts.actors = state_->actors.size();
  counts.workers = state_->leases.size();
  counts.references = state_->references.size();
  counts.stored_bytes = state_->store.used();
  counts.spilled_bytes = state_->store.on_disk();
  counts.commits_dropped = state_->commits_dropped;
  return counts;
}

// --- messages ---

void Node::State::receive(ClientId from, Message& message) {
  if (!is_client(from) || faulty.contains(from)) return;
  const PoolWorker* worker = leases.find(from);
  const bool starting = worker != nullptr && worker->phase == PoolWorker::Phase::starting;
  const bool hello = std::holds_alternative<message::Hello>(message);
  if (starting != hello && from != kDriverClient) {
    // One that was killed before may have said it meanwhile.
    if (hello && worker->phase == PoolWorker::Phase::ending) return;
    fault(from, starting ? "it did not say Hello" : "it said Hello again");
    return;
  }
  std::visit([&](auto& said) { handle(from, said); }, message);
}

void Node::State::send(ClientId to, Message message) {
  if (!is_client(to) || faulty.contains(to)) return;
  out->push_back(decision::Send{to, std::move(message)});
}

bool Node::State::is_client(ClientId client) const {
  return client == kDriverClient || leases.find(client) != nullptr;
}

void Node::State::fault(ClientId client, const std::string& why) {
  if (client != kDriverClient) faulty.insert(client);
  kill(client, "it broke the protocol: " + why);
}

void Node::State::kill(ClientId client, const std::string& why) {
  leases.end_soon(client, now);
  out->push_back(decision::KillWorker{client, why});
  dispatch_needed = true;
}

TaskEntry* Node::State::find_task(std::uint64_t id) {
  const auto found = tasks.find(id);
  return found == tasks.end() ? nullptr : &found->second;
}

ObjectEntry* Node::State::find_object(std::uint64_t id) {
  const auto found = objects.find(id);
  return found == objects.end() ? nullptr : &found->second;
}

void Node::State::handle(ClientId from, message::Hello& hello) {
  if (from == kDriverClient) {
    driver = hello;
    started = now;
    return;
  }
  const bool same =
      !driver || (driver->version == hello.version && driver->digest == hello.digest &&
                  driver->functions == hello.functions);
  if (!same) {
    // Each other worker will be the same program: there is no use in trying again.
    broken = failure(ErrorCode::worker_crashed,
                     "the worker process is another program than the driver: their tables of "
                     "functions differ; start workers with the driver's own executable");
    kill(from, "its table of functions differs from the driver's");
    start_failed("its table of functions differs from the driver's");
    return;
  }
  leases.greet(from, hello.pid, now);
  start_failures = 0;
  send(from, message::Welcome{from, 0, limits.inline_bytes, {}});
  dispatch_needed = true;
}

void Node::State::handle(ClientId from, message::Want& want) {
  for (const std::uint64_t id : want.objects) {
    if (ObjectEntry* object = find_object(id)) {
      watch(from, id, *object);
    } else {
      ObjectEntry gone;
      gone.state = ObjectState::failed;
      gone.bytes =
          failure(ErrorCode::object_lost, "object " + hex_id(id) + " is gone: it was freed");
      tell(from, id, gone);
    }
  }
}

void Node::State::handle(ClientId from, message::Put& put) {
  const bool follows = put.value.kind == WireValue::Kind::absent;
  if (put.object == 0) fault(from, "it put an object without a name");
  if (put.object == 0 || (!follows && !accept(from, put.value))) return;
  ObjectEntry* object = find_object(put.object);
  const bool promised = !follows && promises.erase(put.object) != 0;
  if (object == nullptr) {
    objects[put.object];
    if (follows) promises[put.object] = from;
  }
  // Its maker runs for the second time: the first value is as good.
  if (!follows && (object == nullptr || promised)) {
    seal(from, put.object, std::move(put.value));
  } else {
    discard(from, put.value);
  }
  references.take(from, put.object);
}

void Node::State::handle(ClientId from, message::References& changed) {
  for (const auto& [id, change] : changed.changes) {
    if (change > 0) {
      make_known(id);
      references.take(from, id, static_cast<std::uint32_t>(change));
      continue;
    }
    const auto count = static_cast<std::uint32_t>(-static_cast<std::int64_t>(change));
    if (count == 0) continue;
    const auto left = references.give_back(from, id, count);
    if (left == Left::never_had) {
      fault(from, "it gave back a reference to " + hex_id(id) + " that it does not have");
      return;
    }
    if (left == Left::none) unreferenced.push_back(id);
  }
}

void Node::State::handle(ClientId from, message::Reserve& reserve) {
  store.reserve(from, reserve.request, reserve.size, now, store_actions);
}

void Node::State::handle(ClientId from, message::Unreserve& unreserve) {
  if (!store.is_reserved(from, unreserve.place)) {
    fault(from, "it gave back room that it was not given");
    return;
  }
  store.unreserve(from, unreserve.place, now, store_actions);
}

void Node::State::handle(ClientId from, message::Fetch& message) {
  if (ObjectEntry* object = find_object(message.object)) {
    fetch(from, message.object, *object);
    return;
  }
  send(from, message::Fetched{
                 message.object,
                 failed_value(failure(ErrorCode::object_lost, "object " + hex_id(message.object) +
                                                                  " is gone: it was freed"))});
}

void Node::State::handle(ClientId from, message::Unpin& unpin) {
  for (const std::uint64_t id : unpin.objects) {
    if (store.unpin(id, from, now, store_actions)) continue;
    fault(from, "it unpinned object " + hex_id(id) + " once too often");
    return;
  }
}

/// Who may write and read which segment is the host's business.
void Node::State::handle(ClientId, message::SegmentMapped&) {}

}  // namespace ray::detail
