// What a client asks for, and what it is told: tasks, references, room in the store.
#include "runtime/client.hpp"

#include <ray/error.hpp>

#include <ray/detail/records.hpp>

#include "runtime/failures.hpp"
#include "runtime/node_report.hpp"
#include "runtime/parts.hpp"
#include "runtime/shared_objects.hpp"
#include "task/wire.hpp"

namespace ray::detail {

namespace {

constexpr std::size_t kChangesMax = 256;  // So many are sent together at most.
constexpr std::size_t kWantsMax = 16'384;

}  // namespace

/// A request whose answer a thread waits for.
struct Client::Pending {
  Parker* parker = nullptr;
  std::atomic<bool> done{false};
  Message answer;
};

Client::Client(EngineParts& parts) : parts_(parts) { watch_shared_objects(); }

std::uint16_t Client::engine_index() const { return parts_.engine.index(); }

void Client::open(std::unique_ptr<Channel> channel, const message::Welcome& welcome, bool traced) {
  channel_ = std::move(channel);
  number_ = welcome.client;
  node_ = welcome.node;
  inline_bytes_ = welcome.inline_bytes;
  tells_sites_ = traced;
  background_ = std::thread([this] { background(); });
}

void Client::send(Message message) {
  const std::lock_guard lock(send_mutex_);
  flush_changes();
  channel_->send(std::move(message));
}

/// Requires: send_mutex_.
void Client::flush_changes() {
  if (!has_changes_.load(std::memory_order_relaxed)) return;
  has_changes_.store(false, std::memory_order_relaxed);
  if (!changes_.empty()) channel_->send(message::References{std::exchange(changes_, {})});
  if (!wants_.empty()) channel_->send(message::Want{std::exchange(wants_, {})});
  if (!unpins_.empty()) channel_->send(message::Unpin{std::exchange(unpins_, {})});
}

void Client::flush() {
  if (!has_changes_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(send_mutex_);
  flush_changes();
}

void Client::count_reference(std::uint64_t id, std::int32_t change) {
  bool first = false;
  {
    const std::lock_guard lock(send_mutex_);
    changes_.emplace_back(id, change);
    first = !has_changes_.exchange(true, std::memory_order_relaxed);
    if (changes_.size() >= kChangesMax) flush_changes();
  }
  if (first) stir();
}

void Client::want(std::uint64_t id) {
  const std::lock_guard lock(send_mutex_);
  changes_.emplace_back(id, 1);
  wants_.push_back(id);
  has_changes_.store(true, std::memory_order_relaxed);
  if (wants_.size() >= kWantsMax) flush_changes();
}

void Client::unpin(std::uint64_t object) {
  bool first = false;
  {
    const std::lock_guard lock(send_mutex_);
    unpins_.push_back(object);
    first = !has_changes_.exchange(true, std::memory_order_relaxed);
    if (unpins_.size() >= kChangesMax) flush_changes();
  }
  if (first) stir();
}

// --- requests and answers ---

Message Client::ask(std::uint64_t request, Message message) {
  Pending pending;
  pending.parker = &Parker::mine();
  {
    const std::lock_guard lock(answers_mutex_);
    pending_.emplace(request, &pending);
  }
  send(std::move(message));
  wait(Parker::mine(), nullptr, [&] {
    return pending.done.load(std::memory_order_acquire) ||
           stopping_.load(std::memory_order_acquire);
  });
  const std::lock_guard lock(answers_mutex_);
  pending_.erase(request);
  if (!pending.done.load(std::memory_order_acquire)) {
    throw Error("ray: the runtime was shut down during a request");
  }
  return std::move(pending.answer);
}

void Client::answer(std::uint64_t request, Message message) {
  const std::lock_guard lock(answers_mutex_);
  const auto found = pending_.find(request);
  if (found == pending_.end()) return;
  Pending& pending = *found->second;
  Parker* parker = pending.parker;
  pending.answer = std::move(message);
  pending.done.store(true, std::memory_order_release);
  parker->unpark();
}

Place Client::reserve(std::uint64_t size) {
  const std::uint64_t request = next_request();
  Message message = ask(request, message::Reserve{.request = request, .size = size});
  auto& reserved = std::get<message::Reserved>(message);
  if (!reserved.failure.empty()) {
    std::rethrow_exception(failure_from(decode_failure(reserved.failure))->exception);
  }
  return reserved.place;
}

std::string Client::ask_text(const char* what) {
  const std::uint64_t request = next_request();
  const Message answer = ask(request, message::Ask{.request = request, .what = what});
  const Bytes& text = std::get<message::Answer>(answer).text;
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

State Client::ask_state(const char* what) {
  const std::uint64_t request = next_request();
  const Message answer = ask(request, message::Ask{.request = request, .what = what});
  State state = decode_state(std::get<message::Answer>(answer).text);
  for (NodeInfo& node : state.nodes) node.node_id = node_id();
  return state;
}

void Client::fetch(Encoded& encoded, std::uint64_t object) {
  const std::uint64_t request = fetch_key(object);
  Message message;
  {
    // One at a time for an object: the answer names nothing else.
    const std::lock_guard lock(fetch_mutex_);
    message = ask(request, message::Fetch{object});
  }
  auto& fetched = std::get<message::Fetched>(message);
  if (fetched.value.kind == WireValue::Kind::failure) {
    std::rethrow_exception(failure_from(decode_failure(fetched.value.bytes))->exception);
  }
  if (fetched.value.kind == WireValue::Kind::stored) {
    encoded.pin = std::make_shared<Pin>(parts_.engine.index(), object);
  }
  encoded.value = std::move(fetched.value);
}

Pin::~Pin() {
  const EngineScope scope(engine_);
  Engine* home = scope.engine();
  if (home != nullptr && home->parts().client != nullptr) home->parts().client->unpin(object_);
}

// --- tasks ---

void Client::submit(Task* task) {
  message::Submit submit;
  TaskSpec& spec = submit.task.edit();
  Aliases aliases(*this);
  const std::exception_ptr error = thrown_by([&] { fill(spec, task, aliases); });
  if (error != nullptr) {
    store_failure(task, make_failure(error, task_name(task)));
    parts_.engine.complete(task, kFailed);
    return;
  }
  const std::uint16_t engine = parts_.engine.index();
  const std::uint64_t id = task->task_id();
  const std::uint32_t results = spec.results;
  if (results == kOneResult) {
    enter_shared(engine, id, task);
  } else if (results != kStreamResults) {
    const std::lock_guard lock(results_mutex_);
    several_.emplace(id, std::pair(task, results));
    for (std::uint32_t i = 0; i < results; ++i) {
      enter_shared(engine, result_id(id, results, i), task->ops->codec->element(task, i));
    }
  }
  if (results == kStreamResults) {
    const std::lock_guard lock(results_mutex_);
    streams_.emplace(id, task);
  }
  // It may end before this does. What it takes is given back when the node has heard of it.
  retain(task);
  Events::ready(task);
  send(std::move(submit));
  task->ops->release_arguments(task);
  release(task);
}

void Client::cancel(std::uint64_t task, CancelOptions options) {
  send(message::Cancel{.task = task, .force = options.force, .recursive = options.recursive});
}

// --- what the node says ---

void Client::receive(Message message) {
  std::visit([this](auto& each) { on(std::move(each)); }, message);
}

/// The failure in these bytes; that they are none, if they are not.
FailurePtr read_failure(const Bytes& bytes) {
  FailurePtr failure;
  const std::exception_ptr error =
      thrown_by([&] { failure = failure_from(decode_failure(bytes)); });
  return error == nullptr ? failure : make_failure(error, "");
}

void Client::seal(std::uint64_t id, WireValue&& value) {
  Object* object = find_shared(parts_.engine.index(), id);
  if (object == nullptr) return;  // Nobody here wants it any more.
  std::uintptr_t seal = kEncoded;
  if (value.kind == WireValue::Kind::failure) {
    store_failure(object, read_failure(value.bytes));
    seal = kFailed;
  } else {
    ::new (object->value()) Encoded*(
        new Encoded{.value = std::move(value), .engine = parts_.engine.index(), .pin = {}});
  }
  Task* task = producer_of(object);
  if (task == static_cast<Object*>(object)) {
    parts_.engine.complete_remote(task, seal);
  } else if (task == nullptr) {
    if (!seal_object(object, seal, kRuntimeRef)) object->ops->drop(object, seal);
  } else {
    if (!seal_object(object, seal)) object->ops->drop(object, seal);
    bool last = false;
    {
      const std::lock_guard lock(results_mutex_);
      const auto found = several_.find(task->task_id());
      last = found != several_.end() && --found->second.second == 0;
      if (last) several_.erase(found);
    }
    if (last) {
      ::new (task->value()) Encoded*(nullptr);
      parts_.engine.complete_remote(task, kEncoded);
    }
  }
  release(object);
}

void Client::on(message::Item&& item) {
  Task* task = nullptr;
  {
    const std::lock_guard lock(results_mutex_);
    const auto found = streams_.find(item.task);
    if (found == streams_.end()) return;
    task = found->second;
    if (item.last) streams_.erase(found);
  }
  if (!item.last) {
    StreamCore* stream = task->ops->codec->stream(task, false);
    Object* object = stream->tail();
    ::new (object->value())
        Encoded*(new Encoded{.value = std::move(item.value), .engine = engine_index(), .pin = {}});
    enter_shared(engine_index(), object->task_id(), object);
    if (!stream->arrive()) drop_encoded(object);
    return;
  }
  if (item.value.kind != WireValue::Kind::failure) {
    ::new (task->value()) Encoded*(nullptr);
    parts_.engine.complete_remote(task, kEncoded);
    return;
  }
  store_failure(task, read_failure(item.value.bytes));
  parts_.engine.complete_remote(task, kFailed);
}

void Client::consumed(Task* task, std::uint32_t items) {
  send(message::Consumed{.task = task->task_id(), .items = items});
}

void Client::on(message::Sealed&& sealed) { seal(sealed.object, std::move(sealed.value)); }
void Client::on(message::Reserved&& reserved) {
  const std::uint64_t request = reserved.request;
  answer(request, std::move(reserved));
}
void Client::on(message::Fetched&& fetched) {
  const std::uint64_t request = fetch_key(fetched.object);
  answer(request, std::move(fetched));
}
void Client::on(message::Answer&& text) {
  const std::uint64_t request = text.request;
  answer(request, std::move(text));
}
void Client::on(message::ActorFound&& found) {
  const std::uint64_t request = found.request;
  answer(request, std::move(found));
}

}  // namespace ray::detail
