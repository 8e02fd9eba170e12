// Simulated processes: what they do with what a node sends them.
#include <algorithm>

#include "sim/world.hpp"

namespace ray::sim {

namespace message = detail::message;

static Bytes bytes_of_number(std::uint64_t number) {
  Bytes bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(number >> (8 * i)));
  return bytes;
}

std::uint64_t number_in(const Bytes& bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8 && i < bytes.size(); ++i) {
    number |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return number;
}

WireValue number_value(std::uint64_t number) {
  WireValue value;
  value.bytes = bytes_of_number(number);
  return value;
}

Bytes simple_failure(ErrorCode code, const std::string& text) {
  detail::FailureParts parts;
  parts.code = code;
  parts.text = text;
  return detail::encode_failure(parts);
}

void Process::send(Message said) {
  if (!dead) world_.send(id_, std::move(said));
}

std::size_t Process::held() const {
  std::size_t held = 0;
  for (const auto& [id, known] : known_) held += static_cast<std::size_t>(known.references);
  return held;
}

// --- references and values ---

void Process::known_new(std::uint64_t id) { ++known_[id].references; }

void Process::take(std::uint64_t id) {
  Known& known = known_[id];
  message::References references;
  references.changes.emplace_back(id, 1);
  send(references);
  if (++known.references == 1) send(message::Want{{id}});
}

void Process::drop(std::uint64_t id) {
  const auto found = known_.find(id);
  message::References references;
  references.changes.emplace_back(id, -1);
  if (--found->second.references == 0) {
    if (found->second.fetched) send(message::Unpin{{id}});
    known_.erase(found);
  }
  send(references);
}

const WireValue* Process::obtain(std::uint64_t id) {
  Known& known = known_[id];
  if (!known.sealed) return nullptr;
  if (known.value.kind != WireValue::Kind::absent) return &known.value;
  if (!std::exchange(known.fetching, true)) send(message::Fetch{id});
  return nullptr;
}

std::uint64_t Process::read(std::uint64_t id) {
  Known& known = known_[id];
  if (known.value.kind != WireValue::Kind::stored) return number_in(known.value.bytes);
  const std::uint64_t number = world_.read(known.value.place);
  known.value.kind = WireValue::Kind::absent;
  known.fetched = false;
  send(message::Unpin{{id}});
  return number;
}

void Process::unblock(Frame& frame) {
  if (std::exchange(frame.blocked, false)) send(message::Unblocked{frame.spec.id()});
}

bool Process::all_sealed(Frame& frame, const std::vector<std::uint64_t>& ids) {
  message::Blocked blocked;
  for (const std::uint64_t id : ids) {
    if (!known_[id].sealed) blocked.objects.push_back(id);
  }
  if (blocked.objects.empty()) return true;
  if (is_driver()) return false;
  if (frame.plan.coroutine && (!is_actor || runs_beside())) {
    suspend(frame, blocked.objects.front());  // One after the other.
    return false;
  }
  if (std::exchange(frame.blocked, true)) return false;
  give_back_queue();
  blocked.task = frame.spec.id();
  blocked.count = static_cast<std::uint32_t>(blocked.objects.size());
  blocked.may_nest = !is_actor;
  send(blocked);
  return false;
}

/// As a client does that will not run what it has not begun. An actor's calls are for it alone.
void Process::give_back_queue() {
  if (is_actor || queue_.empty()) return;
  message::GiveBack back;
  for (const message::Run& run : queue_) back.tasks.push_back(run.task->id());
  queue_.clear();
  send(back);
}

// --- messages ---

void Process::receive(Message& received) {
  if (dead) return;
  if (auto* run = std::get_if<message::Run>(&received)) {
    on(*run);
  } else if (auto* sealed = std::get_if<message::Sealed>(&received)) {
    world_.sealed(sealed->object, sealed->value);
    const auto known = known_.find(sealed->object);
    if (known != known_.end() && !known->second.sealed) {
      known->second.sealed = true;
      known->second.value = std::move(sealed->value);
    }
  } else if (auto* fetched = std::get_if<message::Fetched>(&received)) {
    const auto known = known_.find(fetched->object);
    const bool pinned = fetched->value.kind == WireValue::Kind::stored;
    if (known == known_.end() || !known->second.fetching) {
      if (pinned) send(message::Unpin{{fetched->object}});
    } else {
      known->second.fetching = false;
      known->second.fetched = pinned;
      known->second.value = std::move(fetched->value);
    }
  } else if (auto* reserved = std::get_if<message::Reserved>(&received)) {
    const auto all = frames();
    const auto asked = std::find_if(all.begin(), all.end(), [&](const auto& frame) {
      return frame->request == reserved->request;
    });
    if (asked != all.end()) {
      (*asked)->granted = true;
      (*asked)->place = reserved->place;
      (*asked)->refused = std::move(reserved->failure);
    } else if (reserved->failure.empty()) {
      send(message::Unreserve{reserved->place});  // Who asked for it was cancelled.
    }
  } else if (auto* item = std::get_if<message::Item>(&received)) {
    on(*item);
  } else if (auto* cancel = std::get_if<message::CancelTask>(&received)) {
    on(*cancel);
  } else if (const auto* credit = std::get_if<message::Credit>(&received)) {
    on(*credit);
  } else if (auto* found = std::get_if<message::ActorFound>(&received)) {
    if (found->actor != 0) ++known_[found->actor].references;
    const auto all = frames();
    const auto asked = std::find_if(all.begin(), all.end(), [&](const auto& frame) {
      return frame->request == found->request;
    });
    if (asked != all.end()) {
      (*asked)->found = found->actor;
    } else if (found->actor != 0) {
      drop(found->actor);
    }
  } else if (auto* deadlock = std::get_if<message::Deadlock>(&received)) {
    world_.count("deadlock");
    for (const auto& frame : frames()) {
      if (frame->spec.id() != deadlock->task) continue;
      if (frame->blocked || frame->suspended) frame->deadlock = deadlock->why;
    }
  } else if (std::holds_alternative<message::Recall>(received)) {
    world_.count("recall");
    give_back_queue();
  } else if (std::holds_alternative<message::Exit>(received)) {
    exits = true;
    world_.crash(id_, "ended");
    return;
  }
  resume_suspended();
  go_on();
}

void Process::on(message::Run& run) {
  if (run.nested) world_.count("nested");
  (run.nested ? nested_ : queue_).push_back(std::move(run));
}

void Process::on(message::Item& item) {
  if (!item.last) known_[detail::child_id(~item.task, item.item)].references += 1;
  const auto left = left_streams_.find(item.task);
  if (left == left_streams_.end()) {
    items_[item.task].push_back(std::move(item));
  } else if (!item.last) {
    // Nobody reads it any more. Each Submit has one end.
    drop(detail::child_id(~item.task, item.item));
    send(message::Consumed{item.task, UINT32_MAX});
  } else if (--left->second == 0) {
    left_streams_.erase(left);
  }
}

void Process::on(message::CancelTask& cancel) {
  const auto is_it = [&](const message::Run& waits) { return waits.task->id() == cancel.task; };
  if (std::erase_if(queue_, is_it) + std::erase_if(nested_, is_it) != 0) {
    send(message::GiveBack{{cancel.task}});
  }
  for (const auto& frame : frames()) {
    if (frame->spec.id() != cancel.task) continue;
    // Not everybody looks whether he was cancelled; who yields does.
    frame->cancelled = frame->spec.results == detail::kStreamResults || world_.random.chance(500);
  }
}

void Process::on(const message::Credit& credit) {
  std::uint32_t& items = credits_[credit.task];
  items = std::max(items, credit.items);
  for (const auto& frame : frames()) {
    if (frame->spec.id() == credit.task && frame->at == Frame::At::items) frame->awaited = 0;
  }
}

std::vector<std::shared_ptr<Frame>> Process::frames() const {
  std::vector<std::shared_ptr<Frame>> all(stack_.begin(), stack_.end());
  all.insert(all.end(), beside_.begin(), beside_.end());
  all.insert(all.end(), resumed_.begin(), resumed_.end());
  return all;
}

void Process::start_driver(Plan plan, std::uint64_t seed) {
  auto frame = std::make_shared<Frame>();
  frame->spec.parent = seed;
  frame->program = program_of(seed, world_.options.program.depth);
  Plan quiet = plan;
  for (Step& step : quiet.steps) step.get = false;
  expected_ = evaluate(frame->program, quiet, {}, world_.options.program, -1);
  frame->plan = std::move(plan);
  frame->at = Frame::At::steps;
  stack_.push_back(std::move(frame));
  go_on();
}

std::shared_ptr<Frame> Process::begin(std::deque<message::Run>& from) {
  message::Run run = std::move(from.front());
  from.pop_front();
  auto frame = std::make_shared<Frame>();
  frame->spec = *run.task;
  frame->attempt = run.attempt;
  frame->inputs = std::move(run.values);
  frame->checkpoint = run.checkpoint;
  send(message::Began{frame->spec.id()});
  world_.began(frame->spec, frame->attempt);
  if (frame->spec.kind == detail::TaskKind::actor_creation) {
    is_actor = true;
    actor = frame->spec.id();
    checkpoint_every_ = static_cast<std::uint64_t>(frame->spec.creates->checkpoint_every);
    if (run.checkpoint == 0) world_.restored(actor, 0, run.attempt == 0);
    together_ = static_cast<std::size_t>(std::max(1, frame->spec.creates->max_concurrency));
  }
  if (frame->spec.kind == detail::TaskKind::actor_call && frame->attempt == 0) {
    auto& [last, seen] = last_call_[frame->spec.parent];
    // A caller that was given up and runs anew may find a later call of before in its place.
    const SimOptions& options = world_.options;
    const bool anew =
        options.program.throwing != 0 || (options.crash != 0 && options.program.streams);
    if (seen != 0 && last >= frame->spec.index && !anew) world_.wrong("O6: calls in another order");
    last = frame->spec.index;
    seen = 1;
  }
  return frame;
}

// --- the state of an actor ---

bool Process::restore(Frame& frame) {
  Known& known = known_[frame.checkpoint];
  if (!std::exchange(known.sealed, true)) known.value.kind = WireValue::Kind::absent;
  const WireValue* value = obtain(frame.checkpoint);
  if (value == nullptr) return false;
  const std::uint64_t id = std::exchange(frame.checkpoint, 0);
  if (value->kind == WireValue::Kind::failure) {
    fail(frame, value->bytes);
    return false;
  }
  calls_ = read(id);
  known_.erase(id);
  world_.restored(actor, calls_, false);
  return true;
}

bool Process::saves(const Frame& frame) const {
  return frame.spec.kind == detail::TaskKind::actor_call && checkpoint_every_ != 0 &&
         unsaved_ + 1 >= checkpoint_every_;
}

/// A state that belongs to a large result is large too.
bool Process::advance_save(Frame& frame) {
  if (!saves(frame) || (frame.place.segment == 0 && frame.result_place.segment == 0)) {
    frame.at = Frame::At::end;
    return true;
  }
  if (frame.result_place.segment == 0) std::swap(frame.result_place, frame.place);
  if (!reserve(frame)) return frame.at == Frame::At::end;
  frame.state_place = std::exchange(frame.place, std::exchange(frame.result_place, {}));
  frame.at = Frame::At::end;
  return true;
}

/// Another call may have saved since room was asked for; then there is nothing new to save.
void Process::save(Frame& frame, message::Done& done) {
  const bool now = saves(frame);
  ++calls_;
  ++unsaved_;
  if (!now) return;
  unsaved_ = 0;
  WireValue state = number_value(calls_);
  const bool large = frame.state_place.segment != 0;
  if (large) {
    state.place = std::exchange(frame.state_place, {});
    world_.write(state.place, calls_);
    state.bytes.clear();
    state.kind = WireValue::Kind::stored;
  }
  world_.count(large ? "large state" : "state");
  done.checkpoint = std::move(state);
}

}  // namespace ray::sim
