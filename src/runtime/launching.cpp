// The way of a task into the runtime: its options, and where it goes once it is ready.
#include <ray/error.hpp>
#include <ray/runtime/engine.hpp>

#include "runtime/parts.hpp"
#include "task/text.hpp"

namespace ray::detail {

void Engine::apply(Task* task, const TaskOptions& options) {
  const Demand demand = make_demand(options.num_cpus, options.num_gpus, options.memory,
                                    options.resources, "TaskOptions");
  const auto bad = [](const std::string& field, const auto& value, const char* why) {
    throw InvalidArgumentError("TaskOptions::" + field + " = " + std::to_string(value) + ": " +
                               why);
  };
  if (options.max_retries < -1) {
    bad("max_retries", options.max_retries, "must be -1 (for ever), 0 or more");
  }
  if (options.timeout && options.timeout->count() < 0) {
    bad("timeout", options.timeout->count(), "nanoseconds; must not be negative");
  }
  if (options.generator_backpressure < 1) {
    bad("generator_backpressure", options.generator_backpressure, "must be at least 1");
  }
  if (std::holds_alternative<PlacementGroup>(options.scheduling_strategy)) {
    throw InvalidArgumentError(
        "TaskOptions::scheduling_strategy = PlacementGroup: not in this version yet; it comes "
        "with the cluster");
  }
  if (const auto* affinity = std::get_if<NodeAffinity>(&options.scheduling_strategy)) {
    const NodeId here = node_id_of(*this);
    if (affinity->node != here && !affinity->soft) {
      throw InvalidArgumentError("TaskOptions::scheduling_strategy = NodeAffinity{" +
                                 affinity->node.hex() +
                                 "}: there is no such node; see ray::nodes(), or say soft");
    }
  }
  const bool plain = demand.only_cpu() && demand.cpu == kCpuUnit;
  if (plain && options.name.empty() && !options.timeout && !options.retry_exceptions &&
      (!is_remote() || options.max_retries == TaskOptions{}.max_retries) &&
      options.generator_backpressure == TaskOptions{}.generator_backpressure) {
    return;
  }
  TaskExtra& extra = extra_of(task);
  extra.name = cut(options.name);
  if (task->has(kTraced) && !options.name.empty()) parts_->events.named(task, extra.name);
  extra.has_demand = !plain;
  extra.demand = demand;
  extra.max_retries = options.max_retries;
  extra.retries_given = true;
  extra.retry_exceptions = options.retry_exceptions;
  extra.backpressure = options.generator_backpressure;
  if (options.retry_exceptions && options.max_retries != 0) task->flags |= kRetryable;
}

void Engine::arm_timeout(Task* task, std::chrono::nanoseconds timeout) {
  retain(task);
  std::shared_ptr<Task> held(task, [](Task* t) { release(t); });
  const auto now = Clock::now();
  const auto when =
      timeout < Clock::time_point::max() - now ? now + timeout : Clock::time_point::max();
  extra_of(task).timer = parts_->timers.at(when, [held] {
    if (held->ops->seal_elements != nullptr) held->ops->seal_elements(held.get(), kTimedOut, false);
    seal_object(held.get(), kTimedOut);
    cancel(held.get(), {});
  });
}

void Engine::trace(Task* task) { parts_->events.submitted(task); }

void Engine::trace_argument(Task* task, Object* argument, std::size_t position) {
  Events::argument(task, argument, position);
}

void Engine::launch_remote(Task* task) {
  if (task->has(kInternal)) {  // An actor's creation: it was sent, and its core needs it no more.
    release(task);
    return;
  }
  task->flags |= kRemote;
  if (parts_->stopping.load(std::memory_order_relaxed)) {
    complete(task, kShutdown);
    return;
  }
  parts_->client->submit(task);
}

void Engine::put_remote(Object* object) {
  const auto write = [](OutputArchive& out, const void* from) {
    auto* cell = const_cast<Object*>(static_cast<const Object*>(from));
    cell->ops->codec->write(out, cell, 0);
  };
  put_encoded(object, object, write);
}

bool Engine::put_encoded(Object* object, const void* value,
                         void (*write)(OutputArchive&, const void*)) {
  try {
    return parts_->client->put(object, value, write);
  } catch (...) {
    release(object);
    throw;
  }
}

void Engine::launch_slow(Task* task) {
  if (is_remote() && !task->has(kInternal)) {
    launch_remote(task);
    return;
  }
  if (parts_->stopping.load(std::memory_order_relaxed) && !task->has(kInternal)) {
    complete(task, kShutdown);
    return;
  }
  Events::ready(task);
  dispatch(task);
}

void Engine::launch_waiting(Task* task) {
  // acq_rel: pairs with the other arguments' decrements; the last one has seen them all.
  if (task->missing.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (task->ops->kind == ObjectKind::actor_call) {
    Events::ready(task);
    dispatch(task);  // It has its place in line; the actor decides, also when it is dead.
  } else {
    launch_ready(task);
  }
}

void Engine::dispatch(Task* task) {
  if (task->ops->kind == ObjectKind::actor_call) {
    actor_post(task);
    return;
  }
  TaskExtra* extra = task->extra.load(std::memory_order_acquire);
  if (extra != nullptr && extra->has_demand && !task->has(kGranted)) {
    parts_->reserve_or_queue(task, extra->demand);
  } else if (task->has(kGranted) || task->has(kNoCpu)) {
    enqueue_errand(task);
  } else {
    enqueue(task);
  }
}

}  // namespace ray::detail
