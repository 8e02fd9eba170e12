// The simulated world: time, links, processes, memory and disk.
#include "sim/world.hpp"

#include <algorithm>
#include <cstdio>

namespace ray::sim {

namespace decision = detail::decision;
namespace message = detail::message;

namespace {

constexpr std::uint64_t kFnvPrime = 0x100000001b3ULL;
constexpr NodeTime kTimeMax = std::chrono::hours(2);
constexpr std::uint64_t kEventsMax = 3'000'000;

/// A message in a few words, for people who look for what went wrong.
std::string in_words(const Message& message) {
  constexpr const char* kNames[] = {
      "Hello",     "Submit",    "Put",        "Reserve",    "Unreserve", "References",
      "Want",      "Fetch",     "Unpin",      "Blocked",    "Unblocked", "Began",
      "Suspended", "GiveBack",  "Done",       "Yielded",    "Consumed",  "Cancel",
      "KillActor", "FindActor", "Ask",        "Mapped",     "Welcome",   "Run",
      "Sealed",    "Fetched",   "Reserved",   "CancelTask", "Deadlock",  "Recall",
      "Item",      "Credit",    "ActorFound", "ActorEnded", "Answer",    "Exit"};
  std::string words = kNames[message.index()];
  const auto add = [&](std::uint64_t id) { words += " " + detail::hex_id(id).substr(0, 6); };
  std::visit(
      [&](const auto& said) {
        if constexpr (requires { said.task->needs; }) {
          add(said.task->id());
          words += " kind " + std::to_string(static_cast<int>(said.task->kind)) + " of";
          add(said.task->parent);
          words += " needs";
          for (const std::uint64_t need : said.task->needs) add(need);
        } else if constexpr (requires { add(said.task); }) {
          add(said.task);
        } else if constexpr (requires { add(said.object); }) {
          add(said.object);
        } else if constexpr (requires { said.tasks; }) {
          for (const std::uint64_t task : said.tasks) add(task);
        } else if constexpr (requires { said.changes; }) {
          for (const auto& [id, change] : said.changes) {
            add(id);
            words += (change > 0 ? "+" : "") + std::to_string(change);
          }
        }
        if constexpr (requires { said.objects; }) {
          words += " for";
          for (const std::uint64_t object : said.objects) add(object);
        }
        if constexpr (requires { said.attempt; }) words += " try " + std::to_string(said.attempt);
        if constexpr (requires { said.nested; }) words += said.nested ? " nested" : "";
        if constexpr (requires { said.awaited; }) {
          words += said.suspended ? " for" : " no more";
          if (said.suspended) add(said.awaited);
        }
      },
      message);
  return words;
}

}  // namespace

void World::trace(ClientId client, const char* direction, const std::string& words) const {
  if (!options.trace) return;
  std::fprintf(stderr, "%12lld %s %u %s\n", static_cast<long long>(now.count()), direction, client,
               words.c_str());
}

namespace {

detail::NodeLimits limits_of(const SimNode& given) {
  detail::NodeLimits limits;
  limits.total.cpu = given.num_cpus * 10'000;
  limits.total.others["GPU"] = given.num_gpus * 10'000;
  limits.prestart = given.prestart;
  limits.workers_max = given.workers_max;
  limits.store_bytes = given.store_bytes;
  limits.segment_bytes = given.segment_bytes;
  limits.pipeline_time = given.pipeline_time;
  limits.full_grace = given.full_grace;
  return limits;
}

}  // namespace

World::World(const SimOptions& given)
    : options(given), random(given.seed), limits_(limits_of(given.node)), node_(limits_) {
  report.digest = 0xcbf29ce484222325ULL;
}

void World::wrong(const std::string& what) {
  if (report.wrong.empty()) report.wrong = what;
}

void World::note(std::uint64_t what, std::uint64_t who) {
  for (const std::uint64_t part : {static_cast<std::uint64_t>(now.count()), what, who}) {
    for (int i = 0; i < 8; ++i) {
      report.digest = (report.digest ^ ((part >> (8 * i)) & 0xff)) * kFnvPrime;
    }
  }
}

NodeTime World::latency() {
  const auto usual = static_cast<std::int64_t>(500 + random.below(3000));
  return NodeTime(random.chance(20) ? usual * 100 : usual);
}

void World::after(NodeTime time, std::function<void()> what) {
  events_.push({now + time, ++event_number_, std::move(what)});
}

// --- links ---

void World::send(ClientId from, Message message) {
  const NodeTime at = std::max(last_from_[from], now + latency());
  last_from_[from] = at;
  const auto shared = std::make_shared<Message>(std::move(message));
  after(at - now, [this, from, shared] { deliver(from, shared); });
}

void World::deliver(ClientId from, const std::shared_ptr<Message>& message) {
  note(message->index(), from);
  if (options.trace) trace(from, "from", in_words(*message));
  if (const auto* done = std::get_if<message::Done>(message.get()); done && done->checkpoint) {
    const WireValue& state = *done->checkpoint;
    const bool stored = state.kind == WireValue::Kind::stored;
    std::uint64_t& saved = saved_[processes_.at(from)->actor];
    saved = std::max(saved, stored ? read(state.place) : number_in(state.bytes));
  }
  detail::Decisions decisions;
  node_.receive(from, std::move(*message), now, decisions);
  decide(decisions);
}

void World::echo(ClientId from, const message::Done& done) {
  const std::uint64_t sent = sent_[done.task];
  const auto late =
      std::max(last_from_[from], now) - now + latency() + latency() * random.below(99);
  after(late, [this, from, done, sent] {
    // A task that was given up and is submitted once more has its first attempt again.
    if (sent_[done.task] != sent || processes_.at(from)->dead) return;
    deliver(from, std::make_shared<Message>(done));
  });
}

void World::decide(detail::Decisions& decisions) {
  for (detail::Decision& each : decisions) carry_out(each);
  arm_tick();
}

void World::arm_tick() {
  const auto deadline = node_.deadline();
  if (!deadline || (tick_at_ && *tick_at_ <= *deadline)) return;
  tick_at_ = std::max(*deadline, now);
  after(*tick_at_ - now, [this] {
    tick_at_.reset();
    detail::Decisions decisions;
    node_.tick(now, decisions);
    decide(decisions);
  });
}

void World::carry_out(detail::Decision& each) {
  note(100 + each.index(), 0);
  if (auto* send_it = std::get_if<decision::Send>(&each)) {
    const ClientId to = send_it->to;
    const NodeTime at = std::max(last_to_[to], now + latency());
    last_to_[to] = at;
    if (const auto* run = std::get_if<message::Run>(&send_it->message)) ++sent_[run->task->id()];
    note(send_it->message.index(), to);
    if (options.trace) trace(to, "          to", in_words(send_it->message));
    const auto shared = std::make_shared<Message>(std::move(send_it->message));
    after(at - now, [this, to, shared] { processes_.at(to)->receive(*shared); });
  } else if (auto* start = std::get_if<decision::StartWorker>(&each)) {
    const ClientId client = start->client;
    count("start");
    trace(client, "          start", "");
    if (random.chance(options.no_start)) {
      after(latency(), [this, client] {
        detail::Decisions decisions;
        node_.worker_failed(client, "no process", now, decisions);
        decide(decisions);
      });
      return;
    }
    const NodeTime needs =
        random.chance(options.slow_start) ? std::chrono::seconds(2) : std::chrono::milliseconds(1);
    processes_[client] = std::make_unique<Process>(*this, client);
    after(needs, [this, client] {
      message::Hello hello;
      hello.digest = 1;
      hello.pid = client;
      if (!processes_.at(client)->dead) send(client, hello);
    });
  } else if (auto* kill = std::get_if<decision::KillWorker>(&each)) {
    count("kill");
    trace(kill->client, "          kill", kill->why);
    if (kill->why.find("protocol") != std::string::npos)
      wrong("a client was refused: " + kill->why);
    if (kill->client != detail::kDriverClient) crash(kill->client, "was killed");
  } else if (auto* make = std::get_if<decision::MakeSegment>(&each)) {
    const std::uint32_t segment = make->segment;
    const bool made = !random.chance(options.no_segment);
    if (made) segments_.insert(segment);
    after(latency(), [this, segment, made] {
      detail::Decisions decisions;
      node_.segment_made(segment, made, now, decisions);
      decide(decisions);
    });
  } else if (auto* drop = std::get_if<decision::DropSegment>(&each)) {
    segments_.erase(drop->segment);
  } else if (auto* spill = std::get_if<decision::Spill>(&each)) {
    count("spill");
    trace(0, "          spill", detail::hex_id(spill->object).substr(0, 6));
    const decision::Spill one = *spill;
    const bool fails = random.chance(options.disk_full);
    after(latency() * 20, [this, one, fails] {
      std::optional<std::uint64_t> handle;
      if (!fails) {
        handle = ++handles_;
        disk_[*handle] = read(one.place);
      }
      detail::Decisions decisions;
      node_.spilled(one.object, handle, now, decisions);
      decide(decisions);
    });
  } else if (auto* restore = std::get_if<decision::Restore>(&each)) {
    count("restore");
    trace(0, "          restore", detail::hex_id(restore->object).substr(0, 6));
    const decision::Restore one = *restore;
    const bool lost = random.chance(options.disk_lost);
    after(latency() * 20, [this, one, lost] {
      trace(0, lost ? "lost" : "restored", detail::hex_id(one.object).substr(0, 6));
      if (lost) {
        count("lost");
      } else if (!disk_.contains(one.handle)) {
        wrong("O2: a spill was dropped while it was read");
      } else {
        write(one.place, disk_[one.handle]);
      }
      detail::Decisions decisions;
      node_.restored(one.object, !lost, now, decisions);
      decide(decisions);
    });
  } else if (auto* forget = std::get_if<decision::DropSpill>(&each)) {
    if (disk_.erase(forget->handle) == 0) wrong("a spill was dropped twice");
  }
}

// --- processes ---

void World::crash(ClientId client, const std::string& how) {
  const auto found = processes_.find(client);
  if (found == processes_.end() || std::exchange(found->second->dead, true)) return;
  // What it sent before still comes.
  const NodeTime at = std::max(last_from_[client], now + latency());
  after(at - now, [this, client, how] {
    note(200, client);
    trace(client, "ended", how);
    detail::Decisions decisions;
    node_.worker_ended(client, how, now, decisions);
    decide(decisions);
  });
}

void World::write(const Place& place, std::uint64_t value) {
  if (!segments_.contains(place.segment)) wrong("O2: written into a segment that is not there");
  memory_[{place.segment, place.offset}] = value;
}

std::uint64_t World::read(const Place& place) {
  if (!segments_.contains(place.segment)) wrong("O2: read from a segment that is not there");
  return memory_[{place.segment, place.offset}];
}

void World::began(const TaskSpec& spec, std::int32_t attempt) {
  const std::uint64_t times = ++begun_[spec.id()];
  const bool same_again = !attempts_.insert({spec.id(), attempt}).second;
  count("began");
  // A parent that runs once more finds its children. Not so where it threw and gave them up, where
  // it was a stream whose reader died, and where a forced cancel took others along.
  const bool strict = options.program.throwing == 0 && options.disk_lost == 0 && !forced_any;
  const bool deaths = options.crash != 0 || memory_any || killed_any;
  if (!strict || (deaths && options.program.streams)) return;
  if (same_again) wrong("O3: an attempt was made twice");
  if (spec.kind == detail::TaskKind::actor_creation || spec.max_retries < 0) return;
  if (times > static_cast<std::uint64_t>(spec.max_retries) + 1) {
    wrong("O3: a task ran too often");
  }
}

void World::restored(std::uint64_t actor, std::uint64_t calls, bool anew) {
  // A parent that threw may have dropped it, and makes another one of that name.
  if (anew) saved_.erase(actor);
  const std::uint64_t saved = saved_[actor];
  if (calls != 0) count("resumed");
  if (calls > saved) wrong("O8: an actor goes on from a state that it never had");
  if (calls < saved && (calls != 0 || options.program.throwing == 0)) {
    wrong("O8: an actor goes on from a state that is not its newest");
  }
}

void World::sealed(std::uint64_t object, const WireValue& value) {
  Bytes said = value.bytes;
  said.push_back(static_cast<std::byte>(value.kind));
  const auto [first, is_first] = told_.try_emplace(object, said);
  if (!is_first && first->second != said && options.crash == 0 && options.disk_lost == 0 &&
      options.program.throwing == 0) {
    wrong("O3: two values were told of one object");
  }
}

bool World::allowed(const Bytes& failure) const {
  const bool crashes = options.crash != 0 || options.no_start != 0;
  switch (detail::decode_failure(failure).code) {
    case ErrorCode::worker_crashed:
      return crashes;
    case ErrorCode::actor_died:
      return actors_die();
    case ErrorCode::task_cancelled:
      return cancelled_any || options.shut_down;
    case ErrorCode::object_lost:
      return options.disk_lost != 0 && !options.program.rebuilds;
    case ErrorCode::object_store_full:
    case ErrorCode::out_of_disk:
      return options.node.store_bytes < 4'000'000 || options.disk_full != 0 ||
             options.no_segment != 0;
    case ErrorCode::unschedulable:
      return options.node.workers_max < 40;
    case ErrorCode::out_of_memory:
      return memory_any;
    case ErrorCode::deadlock:
      return options.node.workers_max < 40 || options.program.gpu != 0;
    default:
      return false;
  }
}

bool World::actors_die() const {
  const bool crashes = options.crash != 0 || options.no_start != 0;
  // A constructor's worker may be gone for other reasons than its own.
  return crashes || killed_any || memory_any || forced_any || options.shut_down ||
         options.node.workers_max < 40;
}

void World::cancelled(const Process& driver, std::vector<std::uint64_t> objects) {
  count("cancel");
  cancelled_any = true;
  after(std::chrono::seconds(1), [this, &driver, objects = std::move(objects)] {
    for (const std::uint64_t object : objects) {
      if (driver.waits_for(object)) wrong("O1: a cancelled task is not released");
    }
  });
}

// --- the run ---

SimReport World::run() {
  processes_[detail::kDriverClient] = std::make_unique<Process>(*this, detail::kDriverClient);
  Process& driver = *processes_[detail::kDriverClient];
  message::Hello hello;
  hello.digest = 1;
  send(detail::kDriverClient, hello);
  driver.start_driver(driver_plan(options.seed, options.steps, options.program), options.seed);
  if (options.shut_down) {
    after(std::chrono::microseconds(random.below(8000)), [this] {
      detail::Decisions decisions;
      node_.shut_down(now, decisions);
      decide(decisions);
    });
  }
  if (options.cancel_storm != 0) arm_storm();
  while (!events_.empty() && report.wrong.empty()) {
    const Event event = events_.top();
    events_.pop();
    now = event.time;
    if (++report.events > kEventsMax || now > kTimeMax) {
      wrong("O1: it does not come to an end");
      break;
    }
    event.what();
    if (options.memory != 0 && random.below(20'000) < options.memory && !driver.finished()) {
      detail::Decisions decisions;
      if (node_.relieve_memory(now, decisions)) {
        memory_any = true;
        count("memory");
      }
      decide(decisions);
    }
  }
  if (report.wrong.empty()) check_end();
  return report;
}

void World::arm_storm() {
  after(NodeTime(static_cast<std::int64_t>(random.below(20'000))), [this] {
    Process& driver = *processes_[detail::kDriverClient];
    if (driver.finished()) return;
    driver.cancel_one(random);
    if (report.counts["cancel"] < options.cancel_storm) arm_storm();
  });
}

std::string World::workers_in_words() const {
  std::string words;
  for (const auto& worker : node_.workers()) {
    words += "; worker " + std::to_string(worker.client) + " phase " +
             std::to_string(static_cast<int>(worker.phase)) + " task " +
             detail::hex_id(worker.task).substr(0, 6) + " actor " +
             detail::hex_id(worker.actor).substr(0, 6);
  }
  return words;
}

void World::check_end() {
  const Process& driver = *processes_[detail::kDriverClient];
  if (!driver.finished()) {
    const Frame& frame = *driver.top();
    wrong("O1: the driver waits for ever, at step " + std::to_string(frame.step) + ", result " +
          std::to_string(frame.gathered) + ", " +
          detail::hex_id(frame.gathered < frame.ids.size() ? frame.ids[frame.gathered] : 0) +
          "; free CPU " + std::to_string(node_.available().cpu) + ", GPU " +
          std::to_string(node_.available().others["GPU"]) + workers_in_words());
    return;
  }
  const detail::Node::Counts counts = node_.counts();
  std::size_t held = 0;
  for (const auto& [client, process] : processes_) {
    if (!process->dead) held += process->held();
  }
  const auto expect = [&](const char* what, std::uint64_t is, std::uint64_t shall) {
    if (is == shall) return;
    wrong("O4: " + std::to_string(is) + " " + what + " are left, not " + std::to_string(shall));
  };
  expect("references of clients", held, 0);
  expect("tasks", counts.tasks, 0);
  expect("actors", counts.actors, 0);
  expect("objects", counts.objects, 0);
  expect("references", counts.references, 0);
  expect("bytes in memory", counts.stored_bytes, 0);
  expect("bytes on disk", counts.spilled_bytes, 0);
  expect("spills", disk_.size(), 0);
  const detail::Demand available = node_.available();
  if (!(available == limits_.total)) {
    wrong("O5: resources did not come back: CPU " + std::to_string(available.cpu) + " of " +
          std::to_string(limits_.total.cpu));
  }
}

SimReport simulate(const SimOptions& options) {
  World world(options);
  try {
    return world.run();
  } catch (const std::exception& error) {
    // The node never throws: the seed that makes it do so is worth knowing.
    world.wrong(std::string("an exception: ") + error.what());
    return world.report;
  }
}

}  // namespace ray::sim
