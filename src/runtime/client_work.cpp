// What a worker process does: it runs what the node sends.
#include <algorithm>

#include <ray/error.hpp>
#include <ray/runtime/actor_core.hpp>
#include <ray/task/record_types.hpp>

#include <ray/detail/records.hpp>

#include "runtime/failures.hpp"
#include "runtime/parts.hpp"
#include "runtime/references.hpp"
#include "runtime/worker_process.hpp"
#include "task/wire.hpp"

namespace ray::detail {

namespace {

constinit thread_local Client* works_for = nullptr;  // Set on the thread that runs plain tasks.

/// Lives as long as the spec.
std::string_view name_of(const TaskSpec& spec) {
  if (spec.creates) return spec.creates->class_name;
  if (!spec.name.empty()) return spec.name;
  return record_type_name(spec.function);
}

/// The arguments that were given as references, as the node sent their values.
class SentNeeds final : public Needs {
public:
  SentNeeds(message::Run& run, std::uint16_t engine) : run_(run), engine_(engine) {}
  Object* take(Object* (*make)(std::uint64_t id)) override {
    if (next_ >= run_.values.size() || next_ >= run_.task->needs.size()) {
      throw SerializationError("ray: task '" + std::string(name_of(*run_.task)) +
                               "' was sent with " + std::to_string(run_.values.size()) +
                               " objects; it needs more");
    }
    const std::uint64_t id = run_.task->needs[next_];
    WireValue& value = run_.values[next_++];
    Object* object = make(id);
    if (value.kind == WireValue::Kind::failure) {
      store_failure(object, failure_from(decode_failure(value.bytes)));
      seal_object(object, kFailed, kRuntimeRef);
      return object;
    }
    std::shared_ptr<Pin> pin;
    if (value.kind == WireValue::Kind::stored) pin = std::make_shared<Pin>(engine_, id);
    ::new (object->value())
        Encoded*(new Encoded{.value = std::move(value), .engine = engine_, .pin = std::move(pin)});
    seal_object(object, kEncoded, kRuntimeRef);
    return object;
  }
  bool all_taken() const { return next_ == run_.values.size(); }

private:
  message::Run& run_;
  std::uint16_t engine_;
  std::size_t next_ = 0;
};

}  // namespace

bool Client::runs_tasks_here() const { return works_for == this; }

bool Client::nests_here() const {
  const Task* task = thread_context.task();
  return works_for == this && task != nullptr && task->ops->kind == ObjectKind::task;
}

void Client::on(message::Run&& run) {
  if (run.task->kind == TaskKind::actor_call) {
    take_call(std::move(run));
    return;
  }
  const std::uint64_t id = run.task->id();
  bool taken = false;
  {
    const std::lock_guard lock(work_mutex_);
    taken = away_ == 0 || run.nested || run.task->creates;
    if (taken) {
      if (run.task->results == kStreamResults) early_credits_[id] = 0;
      (run.nested ? nested_ : queue_).push_back(std::move(run));
    }
  }
  if (taken) {
    wake_worker();
  } else {
    send(message::GiveBack{{id}});
  }
}

void Client::on(message::Recall&&) { give_back_queue(true); }

void Client::on(message::Exit&&) {
  {
    const std::lock_guard lock(work_mutex_);
    exit_ = true;
  }
  wake_worker();
}

/// Another thread may have read what that one sleeps for.
void Client::wake_worker() {
  Parker* parker = worker_parker_.load(std::memory_order_acquire);
  if (parker != nullptr && works_for != this) parker->unpark();
}

void Client::give_back_queue(bool asked) {
  message::GiveBack back;
  {
    const std::lock_guard lock(work_mutex_);
    for (const message::Run& run : queue_) {
      back.tasks.push_back(run.task->id());
      early_credits_.erase(run.task->id());
    }
    queue_.clear();
  }
  // Who asks waits for an answer, though there is nothing left.
  if (asked || !back.tasks.empty()) send(std::move(back));
}

void Client::on(message::CancelTask&& cancel) {
  Task* task = nullptr;
  {
    const std::lock_guard lock(work_mutex_);
    const auto found = running_.find(cancel.task);
    if (found != running_.end()) {
      task = found->second;
      retain(task);
    } else {
      const auto is_it = [&](const message::Run& run) { return run.task->id() == cancel.task; };
      if (std::erase_if(queue_, is_it) + std::erase_if(nested_, is_it) == 0) return;
      early_credits_.erase(cancel.task);
    }
  }
  if (task == nullptr) {
    send(message::GiveBack{{cancel.task}});
    return;
  }
  parts_.engine.cancel_here(task);
  release(task);
}

Task* Client::find_running(std::uint64_t id) {
  const std::lock_guard lock(work_mutex_);
  const auto found = running_.find(id);
  if (found == running_.end()) return nullptr;
  retain(found->second);
  return found->second;
}

Task* Client::make_task(message::Run& run) {
  const RecordType* type = find_record_type(run.task->function);
  if (type == nullptr) {
    throw UnknownFunctionError("ray: '" + std::string(name_of(*run.task)) +
                               "' is not known in this worker process; was the executable replaced "
                               "while the program runs?");
  }
  SentNeeds needs(run, parts_.engine.index());
  Task* task = nullptr;
  std::shared_ptr<Pin> pin;
  if (run.task->arguments.kind == WireValue::Kind::stored) {
    pin = std::make_shared<Pin>(parts_.engine.index(), arguments_id(run.task->id()));
  }
  read_wire_value(*this, run.task->arguments, pin, [&](InputArchive& in) {
    task = type->make(in, needs);
    in.finish(type->name());
  });
  task->parent = run.task->parent;
  task->index = run.task->index;
  task->engine = parts_.engine.index();
  TaskExtra& extra = extra_of(task);
  extra.order = std::make_unique<Order>(Order{.attempt = run.attempt, .circle = {}});
  extra.attempt = run.attempt;
  if (!run.task->name.empty()) extra.name = run.task->name;
  extra.max_retries = run.task->max_retries;
  extra.retries_given = true;
  extra.retry_exceptions = run.task->retry_exceptions;
  extra.backpressure = run.task->backpressure;
  task->flags |= kNoCpu;  // The node has seen to it.
  if (run.task->retry_exceptions && run.task->max_retries != 0) task->flags |= kRetryable;
  if (run.task->results == kStreamResults) task->ops->codec->stream(task, true);
  return task;
}

void Client::refuse(const message::Run& run, const std::exception_ptr& error) {
  message::Done done;
  done.task = run.task->id();
  done.attempt = run.attempt;
  done.values.push_back(failed_value(error, name_of(*run.task)));
  send(std::move(done));
}

void Client::run(message::Run&& run) {
  send(message::Began{run.task->id()});
  name_output(name_of(*run.task));
  if (run.task->kind == TaskKind::actor_creation) {
    const std::exception_ptr error = thrown_by([&] { host(std::move(run)); });
    if (error != nullptr) refuse(run, error);
    return;
  }
  Task* task = nullptr;
  const std::exception_ptr error = thrown_by([&] { task = make_task(run); });
  if (error != nullptr) {
    {
      const std::lock_guard lock(work_mutex_);
      early_credits_.erase(run.task->id());
    }
    refuse(run, error);
    return;
  }
  std::uint32_t credit = 0;
  {
    const std::lock_guard lock(work_mutex_);
    running_[run.task->id()] = task;
    if (const auto early = early_credits_.extract(run.task->id())) credit = early.mapped();
  }
  if (credit != 0) task->ops->codec->stream(task, false)->credit(credit);
  parts_.engine.run_task(task);
}

bool Client::has_nested() {
  if (works_for != this) return false;
  if (has_errand()) return true;
  const std::lock_guard lock(work_mutex_);
  return !nested_.empty();
}

/// A coroutine goes on, and this thread is blocked: the node takes it that it runs on top.
bool Client::has_errand() {
  if (parts_.errand_count.load(std::memory_order_acquire) == 0 || !nests_here() ||
      !room_on_stack(thread_context)) {
    return false;
  }
  const std::lock_guard lock(work_mutex_);
  return waits_.contains(thread_context.task()->task_id());
}

void Client::run_nested() {
  if (Task* errand = has_errand() ? parts_.pop_errand() : nullptr) {
    parts_.engine.run_chain(errand);
    name_output(task_name(thread_context.task()));
    return;
  }
  message::Run next;
  {
    const std::lock_guard lock(work_mutex_);
    if (nested_.empty()) return;
    next = std::move(nested_.front());
    nested_.pop_front();
  }
  if (room_on_stack(thread_context)) {
    run(std::move(next));
    name_output(task_name(thread_context.task()));
  } else {
    send(message::GiveBack{{next.task->id()}});
  }
}

void Client::suspended(Task* task, const Object* awaited) {
  const std::uint64_t id = task->task_id();
  send(message::Suspended{
      .task = id, .suspended = true, .awaited = awaited != nullptr ? name_of_wait(*awaited) : id});
}

void Client::resumed(Task* task, bool goes_on) {
  send(message::Suspended{.task = task->task_id(), .suspended = !goes_on});
}

void Client::yielded(Task* task, Object* item, std::uint32_t number) {
  Aliases aliases(*this);
  message::Yielded yielded{.task = task->task_id(), .item = number, .value = {}};
  yielded.value = encode_value(item, 0, aliases);
  send(std::move(yielded));
}

void Client::on(message::Credit&& credit) {
  {
    const std::lock_guard lock(work_mutex_);
    const auto early = early_credits_.find(credit.task);
    if (early != early_credits_.end()) early->second = std::max(early->second, credit.items);
  }
  Task* task = find_running(credit.task);
  if (task == nullptr) return;
  // It stays as long as its task has not ended, which takes it out of `running_` first.
  if (StreamCore* stream = task->ops->codec->stream(task, false)) stream->credit(credit.items);
  release(task);
}

void Client::began(Task* task) { send(message::Began{task->task_id()}); }

void Client::finished(Task* task, std::uintptr_t seal) {
  message::Done done;
  done.task = task->task_id();
  done.attempt = extra_of(task).order->attempt;
  Aliases aliases(*this);
  const std::uint32_t results = task->ops->codec->results;
  std::uint64_t number = 0;
  const std::exception_ptr unsaved =
      task->ops->kind == ObjectKind::actor_call
          ? thrown_by([&] { number = pack_checkpoint(task, done.checkpoint, aliases); })
          : nullptr;
  const std::exception_ptr error = thrown_by([&] {
    if (unsaved != nullptr && seal != kFailed && !task->sealed()) std::rethrow_exception(unsaved);
    if (task->sealed()) {
      std::rethrow_exception(failure_of(task)->exception);
    } else if (seal == kValue && results == kOneResult) {
      done.values.push_back(encode_value(task, 0, aliases));
    } else if (seal == kValue && results != kStreamResults) {
      for (std::uint32_t i = 0; i < results; ++i) {
        done.values.push_back(encode_value(task, i, aliases));
      }
    }
    std::size_t ids = done.checkpoint ? done.checkpoint->contains.size() : 0;
    for (const WireValue& value : done.values) ids += value.contains.size();
    if (ids > kIdsMax) {
      throw SerializationError("ray: the results of '" + task_name(task) + "' have " +
                               std::to_string(ids) + " references, at most " +
                               std::to_string(kIdsMax) + " can be sent");
    }
  });
  if (error != nullptr || seal == kFailed) {
    for (const WireValue& value : done.values) unreserve(value);
    done.values.assign(1, error != nullptr ? failed_value(error, task_name(task))
                                           : failed_value(*stored_failure(task)));
  }
  {
    const std::lock_guard lock(work_mutex_);
    running_.erase(done.task);
  }
  send_done(std::move(done), number);
  if (results == kOneResult) release(task);  // The caller's, who is not here.
}

void Client::work() {
  ThreadContext& context = thread_context;
  context.engine = &parts_.engine;
  context.is_worker = true;
  context.worker_number = number_;
  works_for = this;
  Parker& parker = Parker::mine();
  worker_parker_.store(&parker, std::memory_order_release);
  for (;;) {
    if (Task* errand = parts_.pop_errand()) {
      parts_.engine.run_chain(errand);
      continue;
    }
    message::Run next;
    bool has = false;
    bool leave = false;
    {
      const std::lock_guard lock(work_mutex_);
      has = !queue_.empty();
      leave = exit_;
      if (has && !leave) {
        next = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    if (leave) break;
    if (has) {
      run(std::move(next));
      continue;
    }
    wait(parker, nullptr, [&] {
      if (parts_.errand_count.load(std::memory_order_acquire) != 0) return true;
      const std::lock_guard lock(work_mutex_);
      return exit_ || !queue_.empty();
    });
  }
  works_for = nullptr;
  if (hosted_ != nullptr) actor_release_handle(hosted_);  // It ends in order.
}

}  // namespace ray::detail
