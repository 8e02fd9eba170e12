// What a simulated task submits and leaves behind; what the driver does besides, and what it
// checks.
#include <algorithm>

#include "sim/world.hpp"

namespace ray::sim {

namespace message = detail::message;

namespace {

constexpr std::uint32_t kPutIndex = 1'000'000;  // Puts are counted apart from tasks.

}  // namespace

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
  for (const std::size_t need : step.needs) {
    const std::uint32_t parts = frame.plan.steps[need].parts();
    spec.needs.push_back(object_of(frame, need, part_needed(step.program, parts)));
  }
  spec.results = step.results;
  spec.arguments = number_value(step.program);
  spec.backpressure = step.unread;
  if (step.program / 128 % 4 == 0 && !frame.ids.empty()) {
    // A reference inside of the arguments, that the task does not look at.
    const std::size_t some = step.program / 512 % frame.ids.size();
    const std::uint64_t id = object_of(frame, some, 0);
    const bool there = frame.plan.steps[some].kind != StepKind::stream && id != 0;
    if (there && !dropped_.contains(id)) spec.arguments.contains.push_back(id);
  }
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
    spec.creates->name = step.name;
    spec.creates->get_if_exists = step.shared;
    spec.creates->max_concurrency = step.concurrency;
    if (step.max_retries != 0) {
      spec.creates->checkpoint_every = static_cast<std::int32_t>(step.program / 64 % 4);
    }
  }
  if (step.kind == StepKind::call) {
    spec.kind = detail::TaskKind::actor_call;
    spec.actor = frame.ids[step.actor];
  }
  const std::uint64_t id = spec.id();
  frame.stream_ended = false;
  frame.ids.push_back(id);
  // An actor with a name is counted when the answer comes, for it may be another one.
  if (step.kind != StepKind::stream && step.name.empty()) {
    for (std::uint32_t part = 0; part < step.parts(); ++part) {
      known_new(object_of(frame, frame.ids.size() - 1, part));
    }
  }
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
      value = detail::failed_value(frame.failure);
      done.may_retry = frame.throws_again;
    } else if (frame.place.segment != 0) {
      value.kind = WireValue::Kind::stored;
      value.place = frame.place;
      world_.write(frame.place, frame.value);
      frame.place = {};
    } else {
      value = number_value(frame.value);
    }
    const std::uint32_t results = frame.spec.results;
    const bool one = results == detail::kOneResult || results == detail::kStreamResults;
    if (frame.failure.empty() && frame.plan.boxes && one) {
      value.contains.push_back(object_of(frame, frame.ids.size() - 1, 0));
    }
    if (frame.spec.kind == detail::TaskKind::actor_call) save(frame, done);
    const bool stored = value.kind == WireValue::Kind::stored ||
                        (done.checkpoint && done.checkpoint->kind == WireValue::Kind::stored);
    const bool again = !stored && world_.random.chance(world_.options.echo);
    done.values.push_back(std::move(value));
    if (frame.failure.empty() && !one) {
      if (done.values[0].kind == WireValue::Kind::stored) {
        world_.write(done.values[0].place, part_value(frame.value, results, 0));
      } else {
        done.values[0] = number_value(part_value(frame.value, results, 0));
      }
      for (std::uint32_t part = 1; part < results; ++part) {
        done.values.push_back(number_value(part_value(frame.value, results, part)));
      }
    }
    if (again) {
      world_.echo(id_, done);
    }
    send(std::move(done));
    for (const Place& place : {frame.place, frame.result_place, frame.state_place}) {
      if (place.segment != 0) send(message::Unreserve{place});
    }
  }
  if (frame.inner != 0) drop(frame.inner);
  for (std::size_t i = 0; i < frame.ids.size(); ++i) {
    const Step& step = frame.plan.steps[i];
    if (step.kind == StepKind::stream) {
      if (frame.step > i) continue;  // It was read to its end.
      bool ended = false;
      for (const message::Item& item : items_[frame.ids[i]]) {
        ended |= item.last;
        if (!item.last) drop(detail::child_id(~frame.ids[i], item.item));
      }
      items_.erase(frame.ids[i]);
      if (!ended && !frame.stream_ended) {
        ++left_streams_[frame.ids[i]];
        send(message::Consumed{frame.ids[i], UINT32_MAX});
      }
      continue;
    }
    for (std::uint32_t part = 0; part < step.parts(); ++part) {
      const std::uint64_t id = object_of(frame, i, part);
      if (id != 0 && !(is_driver() && dropped_.contains(id))) drop(id);
    }
  }
}

// --- what only the driver does ---

void Process::cancel_one(Random& random) {
  const Frame& frame = *stack_.back();
  if (frame.ids.empty()) return;
  // Mostly one that has not ended yet.
  const std::size_t newest = random.chance(700) ? 8 : frame.ids.size();
  const std::size_t from = frame.ids.size() - std::min(newest, frame.ids.size());
  const std::size_t some = from + random.below(frame.ids.size() - from);
  const Step& step = frame.plan.steps[some];
  if (!step.valued() && step.kind != StepKind::stream) return;
  if (step.kind == StepKind::put) return;
  const bool force = random.chance(300);
  world_.forced_any |= force;
  send(message::Cancel{frame.ids[some], force, random.chance(800)});
  std::vector<std::uint64_t> objects;
  for (std::uint32_t part = 0; step.valued() && part < step.parts(); ++part) {
    objects.push_back(object_of(frame, some, part));
  }
  world_.cancelled(*this, std::move(objects));
}

void Process::cancel_some(Random& random) {
  Frame& frame = *stack_.back();
  if (frame.ids.empty()) return;
  const SimOptions& options = world_.options;
  if (random.chance(options.cancel)) cancel_one(random);
  const std::size_t some = random.below(frame.ids.size());
  const Step& step = frame.plan.steps[some];
  if (step.kind == StepKind::actor && random.chance(options.kill_actor)) {
    world_.killed_any = true;
    send(message::KillActor{frame.ids[some], random.chance(500)});
  }
  if (!random.chance(options.drop) || !step.valued()) return;
  // Not what a later step needs.
  for (std::size_t i = frame.ids.size(); i < frame.plan.steps.size(); ++i) {
    const auto& needs = frame.plan.steps[i].needs;
    if (std::find(needs.begin(), needs.end(), some) != needs.end()) return;
  }
  const auto part = static_cast<std::uint32_t>(random.below(step.parts()));
  const std::uint64_t id = object_of(frame, some, part);
  if (dropped_.insert(id).second) drop(id);
}

void Process::check(std::size_t step, std::uint32_t part, const Outcome& outcome,
                    const Bytes& failure) {
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
  const std::uint32_t results = stack_.back()->plan.steps[step].results;
  if (expected.failed() || outcome.value != part_value(expected.value, results, part)) {
    world_.wrong("O2: step " + std::to_string(step) + " has a wrong value");
  } else if (outcome.boxes && (!expected.box_threw.empty() || outcome.boxed != expected.boxed)) {
    world_.wrong("O2: step " + std::to_string(step) + " has a wrong value in its box");
  }
}

}  // namespace ray::sim
