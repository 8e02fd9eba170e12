// What simulated processes do with a task: step by step, as far as they can without waiting.
#include <algorithm>

#include "sim/world.hpp"

namespace ray::sim {

namespace message = detail::message;

namespace {

constexpr std::uint32_t kPutIndex = 1'000'000;  // Puts are counted apart from tasks.

std::uint64_t size_of_large(std::uint64_t program) { return 200'000 + program % 50'000; }

}  // namespace

// --- going on ---

void Process::go_on() {
  while (!dead) {
    if (stack_.empty() || (stack_.back()->blocked && !nested_.empty())) {
      const std::size_t before = stack_.size();
      begin_next();
      if (stack_.size() == before) return;
    }
    const std::shared_ptr<Frame> frame = stack_.back();
    if (frame->busy) return;
    if (!is_driver() && world_.random.chance(world_.options.crash * (calls_ != 0 ? 5 : 1)) &&
        frame->at != Frame::At::end) {
      world_.count("crash");
      world_.crash(id_, "was killed by SIGKILL");
      return;
    }
    if (frame->at == Frame::At::end) {
      end(*frame);
      stack_.pop_back();
      if (is_driver()) return;
    } else if (!advance(*frame) && frame->at != Frame::At::end &&
               (nested_.empty() || !frame->blocked)) {
      return;
    }
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
  message::Yielded yielded{frame.spec.id(), frame.item, {}};
  yielded.value = number_value(item_value(frame.program, frame.item));
  ++frame.item;
  send(std::move(yielded));
  frame.busy = true;
  world_.after(NodeTime(1000), [this, weak = std::weak_ptr(stack_.back())] {
    if (const auto same = weak.lock()) same->busy = false;
    go_on();
  });
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
    submit(frame, step);
    if (is_driver()) {
      frame.busy = true;
      world_.after(NodeTime(static_cast<std::int64_t>(world_.random.below(400'000))),
                   [this, weak = std::weak_ptr(stack_.back())] {
                     if (const auto same = weak.lock()) same->busy = false;
                     cancel_some(world_.random);
                     go_on();
                   });
      return false;
    }
  }
  if (step.kind == StepKind::stream && !read_stream(frame)) return false;
  if (step.kind != StepKind::stream && step.get && !is_driver() &&
      !open(frame, frame.ids[frame.step], frame.opened)) {
    return false;
  }
  frame.opened = {};
  ++frame.step;
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
        check(frame.step, outcome, item.value.bytes);
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
  if (!is_driver() && !std::exchange(frame.blocked, true)) {
    give_back_queue();
    send(message::Blocked{frame.spec.id(), {id}, 1, false});
  }
  return false;
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
    while (frame.gathered < frame.plan.steps.size()) {
      const Step& step = frame.plan.steps[frame.gathered];
      const bool valued = step.kind != StepKind::stream && step.kind != StepKind::actor;
      if (valued && !dropped_.contains(frame.gathered)) {
        if (!open(frame, frame.ids[frame.gathered], frame.opened)) return false;
        check(frame.gathered, frame.opened, frame.failure);
      }
      frame.at = Frame::At::gather;
      frame.failure.clear();
      frame.opened = {};
      ++frame.gathered;
    }
    frame.at = Frame::At::end;
    return true;
  }
  std::vector<std::uint64_t> ids;
  for (std::size_t i = frame.gathered; i < frame.plan.gather.size(); ++i) {
    ids.push_back(frame.ids[frame.plan.gather[i]]);
  }
  if (frame.inner == 0 && !all_sealed(frame, ids)) return false;
  while (frame.gathered < frame.plan.gather.size()) {
    if (!open(frame, frame.ids[frame.plan.gather[frame.gathered]], frame.opened)) return false;
    frame.opened = {};
    ++frame.gathered;
  }
  frame.at = Frame::At::compute;
  return true;
}

bool Process::advance_compute(Frame& frame) {
  frame.at = Frame::At::finish;
  if (frame.plan.throws || (frame.plan.flaky && frame.attempt == 0)) {
    frame.throws_again = frame.plan.flaky;
    fail(frame, simple_failure(ErrorCode::task, std::to_string(frame.program)));
  }
  frame.busy = true;
  world_.after(std::chrono::microseconds(frame.plan.microseconds),
               [this, weak = std::weak_ptr(stack_.back())] {
                 if (const auto same = weak.lock()) same->busy = false;
                 go_on();
               });
  return false;
}

// --- steps ---

void Process::submit(Frame& frame, const Step& step) {
  const std::uint64_t parent = frame.spec.id();
  const auto index = static_cast<std::uint32_t>(frame.step);
  const bool stored = step.large && frame.place.segment != 0;
  const Place place = std::exchange(frame.place, {});
  if (step.kind == StepKind::put) {
    const std::uint64_t id = detail::child_id(parent, kPutIndex + index);
    WireValue value = number_value(put_value(step.program));
    if (stored) {
      world_.write(place, put_value(step.program));
      value.bytes.clear();
      value.kind = WireValue::Kind::stored;
      value.place = place;
    }
    known_new(id);
    Known& known = known_[id];
    known.sealed = true;
    if (known.value.kind != WireValue::Kind::stored) {
      known.value = value;
      if (stored) known.value.kind = WireValue::Kind::absent;
    }
    send(message::Put{id, std::move(value)});
    frame.ids.push_back(id);
    return;
  }
  TaskSpec spec;
  spec.parent = parent;
  spec.index = index;
  spec.function = 1 + step.program / 16 % 5;
  spec.name = "p" + std::to_string(step.program % 10'000);
  spec.demand.cpu = step.cpu;
  if (step.gpu) spec.demand.others["GPU"] = 10'000;
  spec.max_retries = step.max_retries;
  spec.retry_exceptions = true;
  for (const std::size_t need : step.needs) spec.needs.push_back(frame.ids[need]);
  spec.arguments = number_value(step.program);
  if (stored) {
    world_.write(place, step.program);
    spec.arguments.bytes.clear();
    spec.arguments.kind = WireValue::Kind::stored;
    spec.arguments.place = place;
  }
  if (step.kind == StepKind::stream) spec.results = detail::kStreamResults;
  if (step.kind == StepKind::actor) {
    spec.kind = detail::TaskKind::actor_creation;
    spec.creates.emplace();
    spec.creates->max_restarts = step.max_retries;
    spec.creates->class_name = "Simulated";
    if (step.max_retries != 0) {
      spec.creates->checkpoint_every = static_cast<std::int32_t>(step.program / 64 % 4);
    }
  }
  if (step.kind == StepKind::call) {
    spec.kind = detail::TaskKind::actor_call;
    spec.actor = frame.ids[step.actor];
  }
  const std::uint64_t id = spec.id();
  if (step.kind != StepKind::stream) known_new(id);
  frame.stream_ended = false;
  frame.ids.push_back(id);
  send(message::Submit{std::move(spec)});
}

void Process::end(Frame& frame) {
  if (!is_driver()) {
    unblock(frame);
    message::Done done;
    done.task = frame.spec.id();
    done.attempt = frame.attempt;
    WireValue value;
    if (!frame.failure.empty()) {
      value.kind = WireValue::Kind::failure;
      value.bytes = frame.failure;
      done.may_retry = frame.throws_again;
    } else if (frame.place.segment != 0) {
      value.kind = WireValue::Kind::stored;
      value.place = frame.place;
      world_.write(frame.place, frame.value);
      frame.place = {};
    } else {
      value = number_value(frame.value);
    }
    if (frame.failure.empty() && frame.plan.boxes) value.contains.push_back(frame.ids.back());
    if (frame.spec.kind == detail::TaskKind::actor_call) save(frame, done);
    const bool stored = value.kind == WireValue::Kind::stored || frame.state_place.segment != 0;
    const bool again = !stored && world_.random.chance(world_.options.echo);
    done.values.push_back(std::move(value));
    if (again) {
      const auto late = static_cast<std::int64_t>(world_.random.below(300'000));
      world_.after(NodeTime(late), [this, done] { send(done); });
    }
    send(std::move(done));
    for (const Place& place : {frame.place, frame.result_place}) {
      if (place.segment != 0) send(message::Unreserve{place});
    }
  }
  if (frame.inner != 0) drop(frame.inner);
  for (std::size_t i = 0; i < frame.ids.size(); ++i) {
    if (frame.plan.steps[i].kind == StepKind::stream) {
      if (frame.step > i) continue;  // It was read to its end.
      bool ended = false;
      for (const message::Item& item : items_[frame.ids[i]]) {
        ended |= item.last;
        if (!item.last) drop(detail::child_id(~frame.ids[i], item.item));
      }
      items_.erase(frame.ids[i]);
      if (!ended && !frame.stream_ended) ++left_streams_[frame.ids[i]];
    } else if (!is_driver() || !dropped_.contains(i)) {
      drop(frame.ids[i]);
    }
  }
}

// --- what only the driver does ---

void Process::cancel_some(Random& random) {
  Frame& frame = *stack_.back();
  const SimOptions& options = world_.options;
  const std::size_t some = random.below(frame.ids.size());
  const StepKind kind = frame.plan.steps[some].kind;
  if (random.chance(options.cancel) && kind != StepKind::put && kind != StepKind::actor) {
    world_.cancelled_any = true;
    const bool force = random.chance(300);
    world_.forced_any |= force;
    send(message::Cancel{frame.ids[some], force, random.chance(800)});
  }
  if (random.chance(options.kill_actor) && kind == StepKind::actor) {
    world_.killed_any = true;
    send(message::KillActor{frame.ids[some], random.chance(500)});
  }
  if (!random.chance(options.drop) || kind == StepKind::actor || kind == StepKind::stream) return;
  // Not what a later step needs.
  for (std::size_t i = frame.ids.size(); i < frame.plan.steps.size(); ++i) {
    const auto& needs = frame.plan.steps[i].needs;
    if (std::find(needs.begin(), needs.end(), some) != needs.end()) return;
  }
  if (dropped_.insert(some).second) drop(frame.ids[some]);
}

void Process::check(std::size_t step, const Outcome& outcome, const Bytes& failure) {
  const Outcome& expected = expected_.steps[step];
  world_.count(outcome.failed() ? "failed" : "value");
  if (outcome.failed() || !outcome.box_threw.empty()) {
    const std::vector<std::uint64_t>& threw =
        outcome.failed() ? expected.threw : expected.box_threw;
    const detail::FailureParts parts = detail::decode_failure(failure);
    const bool expects = std::any_of(threw.begin(), threw.end(), [&](std::uint64_t program) {
      return parts.text == std::to_string(program);
    });
    if (parts.code == ErrorCode::task && !expects) {
      world_.wrong("O2: an exception that was not thrown: " + parts.text);
    } else if (parts.code != ErrorCode::task && !world_.allowed(failure)) {
      world_.wrong("O2: no fault explains: " + parts.text);
    }
    return;
  }
  if (expected.failed() || outcome.value != expected.value) {
    world_.wrong("O2: step " + std::to_string(step) + " has a wrong value");
  } else if (outcome.boxes && (!expected.box_threw.empty() || outcome.boxed != expected.boxed)) {
    world_.wrong("O2: step " + std::to_string(step) + " has a wrong value in its box");
  }
}

}  // namespace ray::sim
