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
