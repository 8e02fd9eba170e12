// What simulated processes do with a task: step by step, as far as they can without waiting.
#include <algorithm>

#include "sim/world.hpp"

namespace ray::sim {

namespace message = detail::message;

namespace {

std::uint64_t size_of_large(std::uint64_t program) { return 200'000 + program % 50'000; }

}  // namespace

// --- going on ---

void Process::go_on() {
  while (!dead) {
    if (runs_beside()) {
      go_on_beside();
      return;
    }
    if ((stack_.empty() || stack_.back()->blocked) && !next_on_stack() && stack_.empty()) return;
    const std::shared_ptr<Frame> frame = stack_.back();
    if (frame->busy || !survives(*frame)) return;
    if (frame->at == Frame::At::end) {
      end(*frame);
      stack_.pop_back();
      if (is_driver()) return;
    } else if (!advance(*frame) && frame->at != Frame::At::end && !frame->suspended &&
               (!frame->blocked || (nested_.empty() && resumed_.empty()))) {
      return;
    }
  }
}

/// Something new on top, if there is something for an idle thread, or for one that is blocked.
bool Process::next_on_stack() {
  if (is_driver()) return false;
  auto& runs = stack_.empty() && nested_.empty() ? queue_ : nested_;
  if (!resumed_.empty() && (runs.empty() || world_.random.chance(500))) {
    stack_.push_back(resumed_.front());
    resumed_.pop_front();
  } else if (!runs.empty()) {
    stack_.push_back(begin(runs));
  } else {
    return false;
  }
  return true;
}

/// The calls of an actor that runs several at a time.
void Process::go_on_beside() {
  for (bool moved = true; moved && !dead;) {
    moved = false;
    while (beside_.size() < together_ && !queue_.empty()) beside_.push_back(begin(queue_));
    for (const auto& frame : std::vector(beside_)) {
      if (frame->busy || frame->suspended) continue;
      if (!survives(*frame)) return;
      if (frame->at == Frame::At::end) {
        end(*frame);
        std::erase(beside_, frame);
        moved = true;
      } else if (advance(*frame) || frame->at == Frame::At::end) {
        moved = true;
      }
    }
  }
}

bool Process::survives(const Frame& frame) {
  if (is_driver() || frame.at == Frame::At::end) return true;
  // An actor that has a state to lose is more interesting.
  if (!world_.random.chance(world_.options.crash * (calls_ != 0 ? 5 : 1))) return true;
  world_.count("crash");
  world_.crash(id_, "was killed by SIGKILL");
  return false;
}

void Process::later(Frame& frame, NodeTime time) {
  frame.busy = true;
  world_.after(time, [this, weak = frame.weak_from_this()] {
    if (const auto same = weak.lock()) same->busy = false;
    go_on();
  });
}

void Process::suspend(Frame& frame, std::uint64_t awaited) {
  world_.count("suspended");
  frame.awaited = awaited;
  frame.suspended = true;
  send(message::Suspended{frame.spec.id(), true, awaited});
  if (runs_beside()) return;
  beside_.push_back(stack_.back());
  stack_.pop_back();
}

void Process::resume_suspended() {
  const auto all = beside_;
  for (const auto& frame : all) {
    if (!frame->suspended) continue;
    const auto known = known_.find(frame->awaited);
    const auto items = items_.find(frame->awaited);
    const bool there = frame->awaited == 0 || (known != known_.end() && known->second.sealed) ||
                       (items != items_.end() && !items->second.empty());
    if (!there && !frame->cancelled && frame->deadlock.empty()) continue;
    frame->suspended = false;
    send(message::Suspended{frame->spec.id(), false});
    if (runs_beside()) continue;
    std::erase(beside_, frame);
    resumed_.push_back(frame);
  }
}

bool Process::advance(Frame& frame) {
  if (frame.cancelled || !frame.deadlock.empty()) {
    unblock(frame);
    fail(frame, frame.cancelled ? simple_failure(ErrorCode::task_cancelled, "cancelled")
                                : simple_failure(ErrorCode::deadlock, frame.deadlock));
    return true;
  }
  switch (frame.at) {
    case Frame::At::begin:
      return advance_begin(frame);
    case Frame::At::items:
      return advance_items(frame);
    case Frame::At::steps:
      return advance_step(frame);
    case Frame::At::gather:
      return advance_gather(frame);
    case Frame::At::compute:
      return advance_compute(frame);
    case Frame::At::finish:
      if (frame.plan.large && frame.spec.results != detail::kStreamResults && !reserve(frame)) {
        return false;
      }
      if (frame.at != Frame::At::end) frame.at = Frame::At::save;
      return true;
    case Frame::At::save:
      return advance_save(frame);
    default:
      return true;
  }
}

bool Process::advance_begin(Frame& frame) {
  if (frame.checkpoint != 0 && !restore(frame)) return frame.at == Frame::At::end;
  std::vector<std::uint64_t> unpins;
  const auto number = [&](const WireValue& value, std::uint64_t id) {
    if (value.kind != WireValue::Kind::stored) return number_in(value.bytes);
    unpins.push_back(id);
    return world_.read(value.place);
  };
  frame.program = number(frame.spec.arguments, detail::arguments_id(frame.spec.id()));
  frame.plan = plan_of(frame.program, world_.options.program);
  frame.value = mixed(frame.program, 1);
  for (std::size_t i = 0; i < frame.inputs.size(); ++i) {
    frame.value = mixed(frame.value, number(frame.inputs[i], frame.spec.needs[i]));
  }
  if (!unpins.empty()) send(message::Unpin{unpins});
  frame.at = frame.spec.results == detail::kStreamResults ? Frame::At::items : Frame::At::steps;
  if (frame.spec.kind == detail::TaskKind::actor_creation) {
    frame.plan.steps.clear();
    frame.plan.gather.clear();
    frame.plan.throws = frame.plan.flaky = frame.plan.large = frame.plan.boxes = false;
  }
  return true;
}

bool Process::advance_items(Frame& frame) {
  if (frame.item == frame.plan.items) {
    frame.at = Frame::At::steps;
    frame.item = 0;
    return true;
  }
  const auto unread = static_cast<std::uint32_t>(frame.spec.backpressure);
  if (unread != 0 && frame.item >= unread && frame.item - unread >= credits_[frame.spec.id()]) {
    world_.count("no credit");
    suspend(frame, frame.spec.id());
    return false;
  }
  message::Yielded yielded{frame.spec.id(), frame.item, {}};
  yielded.value = number_value(item_value(frame.program, frame.item));
  ++frame.item;
  send(std::move(yielded));
  later(frame, NodeTime(1000));
  return false;
}

bool Process::reserve(Frame& frame) {
  if (frame.granted) {
    frame.granted = false;
    frame.request = 0;
    if (frame.refused.empty()) return true;
    fail(frame, std::exchange(frame.refused, {}));
    return false;
  }
  if (frame.request == 0) {
    frame.request = ++requests_;
    send(message::Reserve{frame.request, size_of_large(frame.program)});
  }
  return false;
}

bool Process::advance_step(Frame& frame) {
  if (frame.step == frame.plan.steps.size()) {
    frame.at = Frame::At::gather;
    return true;
  }
  const Step& step = frame.plan.steps[frame.step];
  if (frame.ids.size() == frame.step) {
    if (step.large && !reserve(frame)) {
      if (frame.at != Frame::At::end || !is_driver()) return false;
      frame.at = Frame::At::steps;  // The driver does without.
      frame.failure.clear();
    }
    if (step.kind == StepKind::find || !step.name.empty()) {
      if (!ask_for_actor(frame, step)) return false;
    } else {
      submit(frame, step);
    }
    if (is_driver()) {
      frame.busy = true;
      world_.after(NodeTime(static_cast<std::int64_t>(world_.random.below(400'000))),
                   [this, weak = frame.weak_from_this()] {
                     if (const auto same = weak.lock()) same->busy = false;
                     cancel_some(world_.random);
                     go_on();
                   });
      return false;
    }
  }
  if (step.kind == StepKind::stream && !read_stream(frame)) return false;
  if (step.kind != StepKind::stream && step.get && !is_driver() && !open_parts(frame, frame.step)) {
    return false;
  }
  ++frame.step;
  return true;
}

/// Makes an actor that has a name, or looks for one. The node answers at once.
bool Process::ask_for_actor(Frame& frame, const Step& step) {
  const bool finds = step.kind == StepKind::find;
  if (!std::exchange(frame.asked, true)) {
    if (finds) {
      frame.request = ++requests_;
      send(message::FindActor{frame.request, step.name});
    } else {
      submit(frame, step);
      frame.request = frame.ids.back();
      frame.ids.pop_back();
    }
  }
  if (!frame.found) return false;
  const std::uint64_t found = *std::exchange(frame.found, std::nullopt);
  const std::uint64_t own = frame.request;
  frame.asked = false;
  frame.request = 0;
  frame.ids.push_back(found);
  world_.count(!finds ? "named" : found != 0 ? "found" : "not found");
  if (finds && step.actor != SIZE_MAX && found != frame.ids[step.actor] && !world_.actors_die()) {
    world_.wrong("O2: an actor is not found by its name");
  }
  if (!finds && (found == 0 || (found != own && !step.shared))) {
    world_.wrong("O2: the name of an actor was taken");
  }
  return true;
}

bool Process::read_stream(Frame& frame) {
  const std::uint64_t id = frame.ids[frame.step];
  auto& items = items_[id];
  const std::uint64_t program = frame.plan.steps[frame.step].program;
  if (frame.item == 0 && frame.items_value == 0) frame.items_value = mixed(program, 2);
  while (!items.empty()) {
    const message::Item item = std::move(items.front());
    items.pop_front();
    if (item.item != frame.item) world_.wrong("O2: an item is missing");
    if (item.last) {
      items_.erase(id);
      frame.stream_ended = true;
      unblock(frame);
      Outcome outcome;
      outcome.value = frame.items_value;
      frame.item = 0;
      frame.items_value = 0;
      const bool failed = item.value.kind == WireValue::Kind::failure;
      if (is_driver()) {
        if (failed) outcome.threw.push_back(0);
        check(frame.step, 0, outcome, item.value.bytes);
      } else if (failed) {
        fail(frame, item.value.bytes);
        return false;
      } else {
        frame.value = mixed(frame.value, outcome.value);
      }
      return true;
    }
    const std::uint64_t number = number_in(item.value.bytes);
    if (number != item_value(program, item.item)) world_.wrong("O2: a wrong item");
    frame.items_value = mixed(frame.items_value, number);
    ++frame.item;
    drop(detail::child_id(~id, item.item));
    send(message::Consumed{id, frame.item});
  }
  if (is_driver()) return false;
  if (frame.plan.coroutine && (!is_actor || runs_beside())) {
    suspend(frame, id);
  } else if (!std::exchange(frame.blocked, true)) {
    give_back_queue();
    send(message::Blocked{frame.spec.id(), {id}, 1, false});
  }
  return false;
}

std::uint64_t Process::object_of(const Frame& frame, std::size_t step, std::uint32_t part) {
  return detail::result_id(frame.ids[step], frame.plan.steps[step].results, part);
}

/// Opens all results of a step, one after the other.
bool Process::open_parts(Frame& frame, std::size_t step) {
  while (frame.part < frame.plan.steps[step].parts()) {
    if (!open(frame, object_of(frame, step, frame.part), frame.opened)) return false;
    frame.opened = {};
    ++frame.part;
  }
  frame.part = 0;
  return true;
}

bool Process::open(Frame& frame, std::uint64_t id, Outcome& outcome) {
  if (frame.inner == 0) {
    if (!all_sealed(frame, {id})) return false;
    const WireValue* value = obtain(id);
    if (value == nullptr) return false;
    if (value->kind == WireValue::Kind::failure) {
      unblock(frame);
      outcome.threw.push_back(0);
      fail(frame, value->bytes);
      return is_driver();
    }
    const std::vector<std::uint64_t> contains = value->contains;
    outcome.value = read(id);
    frame.value = mixed(frame.value, outcome.value);
    unblock(frame);
    if (contains.empty()) return true;
    frame.inner = contains[0];
    take(frame.inner);
  }
  const std::uint64_t inner = frame.inner;
  if (!all_sealed(frame, {inner})) return false;
  const WireValue* value = obtain(inner);
  if (value == nullptr) return false;
  unblock(frame);
  frame.inner = 0;
  outcome.boxes = true;
  if (value->kind == WireValue::Kind::failure) {
    outcome.box_threw.push_back(0);
    fail(frame, value->bytes);
    drop(inner);
    return is_driver();
  }
  outcome.boxed = read(inner);
  frame.value = mixed(frame.value, outcome.boxed);
  drop(inner);
  return true;
}

bool Process::advance_gather(Frame& frame) {
  if (is_driver()) {
    for (; frame.gathered < frame.plan.steps.size(); ++frame.gathered, frame.part = 0) {
      const Step& step = frame.plan.steps[frame.gathered];
      for (; step.valued() && frame.part < step.parts(); ++frame.part) {
        const std::uint64_t id = object_of(frame, frame.gathered, frame.part);
        if (dropped_.contains(id)) continue;
        if (!open(frame, id, frame.opened)) return false;
        check(frame.gathered, frame.part, frame.opened, frame.failure);
        frame.at = Frame::At::gather;
        frame.failure.clear();
        frame.opened = {};
      }
    }
    frame.at = Frame::At::end;
    return true;
  }
  std::vector<std::uint64_t> ids;
  for (std::size_t i = frame.gathered; i < frame.plan.gather.size(); ++i) {
    const std::size_t step = frame.plan.gather[i];
    for (std::uint32_t part = 0; part < frame.plan.steps[step].parts(); ++part) {
      ids.push_back(object_of(frame, step, part));
    }
  }
  if (frame.inner == 0 && !all_sealed(frame, ids)) return false;
  while (frame.gathered < frame.plan.gather.size()) {
    if (!open_parts(frame, frame.plan.gather[frame.gathered])) return false;
    ++frame.gathered;
  }
  frame.at = Frame::At::compute;
  return true;
}

bool Process::advance_compute(Frame& frame) {
  frame.at = Frame::At::finish;
  // One that was given up may run for the first time with a later attempt.
  const bool early = frame.attempt == 0 || frame.spec.max_retries == 0;
  if (frame.plan.throws || (frame.plan.flaky && early)) {
    frame.throws_again = frame.plan.flaky;
    fail(frame, simple_failure(ErrorCode::task, std::to_string(frame.program)));
  }
  later(frame, std::chrono::microseconds(frame.plan.microseconds));
  return false;
}

}  // namespace ray::sim
