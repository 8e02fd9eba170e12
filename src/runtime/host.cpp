#include "runtime/host.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include <ray/error.hpp>
#include <ray/task/record_types.hpp>
#include <ray/task/values.hpp>

#include "runtime/failures.hpp"
#include "runtime/parker.hpp"
#include "task/failure_codec.hpp"
#include "task/message_codec.hpp"
#include "task/timespec.hpp"

namespace ray::detail {

namespace {

constexpr std::uint32_t kSendsBetweenLooks = 8;
constexpr std::uint32_t kLooksBetweenClocks = 16;
constexpr auto kDeathsEvery = std::chrono::milliseconds(2);
constexpr auto kEndWithin = std::chrono::seconds(5);

/// What the worker must know at once, whatever it does.
/// The thread that asked waits for it, and reads it itself.
bool is_answer(const Message& message) {
  return std::holds_alternative<message::Fetched>(message) ||
         std::holds_alternative<message::Reserved>(message) ||
         std::holds_alternative<message::ActorFound>(message) ||
         std::holds_alternative<message::Answer>(message);
}

bool is_urgent(const Message& message) {
  return !std::holds_alternative<message::Run>(message) ||
         std::get<message::Run>(message).task->kind != TaskKind::task ||
         std::get<message::Run>(message).nested;
}

}  // namespace

Spawner make_spawner() {
  SystemFault fault;
  auto spawner = Spawner::make(fault);
  if (!spawner) throw Error("ray: worker processes cannot be started: " + fault.text());
  return std::move(*spawner);
}

Host::Host(const RuntimeOptions& options, NodeLimits limits, const message::Welcome& welcome,
           Receiver& driver)
    : options_(options),
      welcome_(welcome),
      driver_(driver),
      ordinary_segment_(limits.segment_bytes),
      node_(std::move(limits)),
      watch_(::epoll_create1(EPOLL_CLOEXEC)),
      bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      spawner_(make_spawner()),
      memory_(
          options.memory_limit_share, [this] { return is_busy(); },
          [this] { return relieve_memory(); }) {
  if (!watch_ || !bell_) throw Error("ray: " + SystemFault::of("epoll_create1, eventfd").text());
  epoll_event event{};
  event.events = EPOLLIN;
  ::epoll_ctl(watch_.number(), EPOLL_CTL_ADD, bell_.number(), &event);
  if (!options_.spill_directory.empty()) {
    SystemFault fault;
    if (!SpillFile::open(options_.spill_directory, fault)) {
      throw InvalidArgumentError("ray: nothing can be spilled to '" + options_.spill_directory +
                                 "' (spill_directory): " + fault.text());
    }
  }
  OutputArchive out;
  out(options_);
  welcome_.options = out.bytes();
  chores_thread_ = std::thread([this] { chores(); });
  send(message::Hello{.version = kWireVersion,
                      .digest = record_types_digest(),
                      .functions = record_types_count(),
                      .pid = ::getpid()});
}

Host::~Host() {
  {
    const std::lock_guard lock(chores_mutex_);
    chores_end_ = true;
  }
  chores_wanted_.notify_all();
  if (chores_thread_.joinable()) chores_thread_.join();
}

void Host::ring() { ::eventfd_write(bell_.number(), 1); }

// --- in and out ---

void Host::send(Message message) {
  const std::lock_guard lock(mutex_);
  node_.receive(kDriverClient, std::move(message), now(), decisions_);
  carry_out();
  // Who sends a lot keeps the workers going as well: no other thread has to get at the lock for it.
  if (++sent_ % kSendsBetweenLooks == 0) read_links();
  // Who sends need not wait for anything, and of what the node decided at once no worker rings.
  if (std::exchange(news_, false) && attending_ == 0 && !rests_.empty()) ring();
  wake_for_deadline();
}

/// Decisions may bring about others.
void Host::carry_out() {
  if (std::exchange(carrying_out_, true)) return;
  for (std::size_t i = 0; i < decisions_.size(); ++i) {
    Decision decision = std::move(decisions_[i]);
    std::visit([this](auto& each) { perform(std::move(each)); }, decision);
  }
  decisions_.clear();
  carrying_out_ = false;
}

void Host::perform(decision::Send&& send) {
  if (send.to == kDriverClient) {
    news_ |= !is_answer(send.message);
    inbox_.push_back(std::move(send.message));
    return;
  }
  const auto found = workers_.find(send.to);
  if (found == workers_.end()) return;
  WorkerEnd& worker = *found->second;
  if (auto* welcome = std::get_if<message::Welcome>(&send.message)) {
    const ClientId client = welcome->client;
    *welcome = welcome_;
    welcome->client = client;
  }
  show_places(worker, send.message);
  scratch_.clear();
  try {
    encode(send.message, scratch_);
  } catch (const SerializationError&) {
    cannot_send(send.to, send.message);
    return;
  }
  if (std::holds_alternative<message::Run>(send.message)) memory_.wake();
  const Link::Sent sent = worker.link.send(scratch_, is_urgent(send.message));
  if (sent == Link::Sent::refused || sent == Link::Sent::broken) {
    worker.child.kill();  // It reads nothing for long, or has spoilt the ring: it is lost.
  }
}

/// Requires: mutex_. In a handler: what a message may hold is too little for this one.
void Host::cannot_send(ClientId client, const Message& message) {
  const auto* run = std::get_if<message::Run>(&message);
  if (run == nullptr) {
    workers_.at(client)->child.kill();
    return;
  }
  // The task fails, as one does whose worker cannot read it.
  const std::uint64_t id = run->task->id();
  WireValue value = failed_value(std::current_exception(), "");
  node_.receive(client, message::Began{id}, now(), decisions_);
  message::Done done;
  done.task = id;
  done.attempt = run->attempt;
  done.values.push_back(std::move(value));
  node_.receive(client, std::move(done), now(), decisions_);
}

bool Host::poll() {
  const ReaderRole::Turn turn(reader_);
  if (!turn) return false;
  bool any = false;
  {
    const std::lock_guard lock(mutex_);
    any = read_links();
    // The clock has its price, and what it is asked for has time.
    if (++looks_ % kLooksBetweenClocks == 0 || looked_for_deaths_ == Clock::time_point{}) {
      look_at_clock();
    }
    wake_for_deadline();
    if (delivering_.empty()) {
      std::swap(delivering_, inbox_);
      news_ = false;
    }
  }
  any |= deliver();
  return any;
}

/// Requires: mutex_.
void Host::look_at_clock() {
  const auto time = Clock::now();
  if (time - looked_for_deaths_ >= kDeathsEvery) {
    looked_for_deaths_ = time;
    look_for_deaths();
  }
  const auto deadline = node_.deadline();
  if (deadline && *deadline <= time.time_since_epoch()) {
    node_.tick(time.time_since_epoch(), decisions_);
    carry_out();
  }
}

/// By the reader. One at a time: what one leads to may wait, and then the thread goes on with the
/// next.
bool Host::deliver() {
  bool any = false;
  while (!delivering_.empty()) {
    Message message = std::move(delivering_.front());
    delivering_.pop_front();
    driver_.receive(std::move(message));
    any = true;
  }
  return any;
}

// --- sleeping ---

/// False if there is something to read already.
bool Host::settle() {
  bool quiet = inbox_.empty();
  for (auto& [client, worker] : workers_) quiet &= settle(worker->link);
  return quiet;
}

bool Host::settle(Link& link) { return link.set_readers(attending_ > 0, !rests_.empty()); }

void Host::attend(bool begins) {
  const std::lock_guard lock(mutex_);
  attending_ += begins ? 1 : -1;
  if (attending_ > 1 || (attending_ == 1 && !begins)) return;  // As it was.
  // Somebody sleeps who would not hear of what has just come; who begins looks itself.
  if (!settle() && !begins) ring();
}

void Host::sleep(Parker& parker, const Clock::time_point* deadline) {
  std::optional<NodeTime> node_deadline;
  std::multiset<NodeTime>::iterator own;
  bool quiet = true;
  {
    const std::lock_guard lock(mutex_);
    node_deadline = node_.deadline();
    own = rests_.insert(node_deadline.value_or(NodeTime::max()));
    quiet = settle();
  }
  const int bell = quiet ? parker.rest_begins() : -1;
  if (bell >= 0) {
    std::chrono::nanoseconds rest = std::chrono::hours(1);
    const auto time = Clock::now();
    if (deadline != nullptr) rest = std::min<std::chrono::nanoseconds>(rest, *deadline - time);
    if (node_deadline) {
      rest = std::min<std::chrono::nanoseconds>(rest, *node_deadline - time.time_since_epoch());
    }
    rest = std::max(rest, std::chrono::nanoseconds(0));
    const timespec wait = to_timespec(rest);
    pollfd watched[2] = {{.fd = watch_.number(), .events = POLLIN, .revents = 0},
                         {.fd = bell, .events = POLLIN, .revents = 0}};
    ::ppoll(watched, 2, &wait, nullptr);
    parker.rest_ends();
  }
  const std::lock_guard lock(mutex_);
  rests_.erase(own);
  eventfd_t rings = 0;
  ::eventfd_read(bell_.number(), &rings);
  looked_for_deaths_ = {};
  // Others may go on sleeping, since the bell is silent again: what has come is this thread's to
  // read, and for what comes it must ring anew.
  for (auto& [client, worker] : workers_) worker->link.awake(true);
  settle();
  wake_for_deadline();
}

/// Somebody sleeps who does not know of the node's new deadline, and whom the bell that was to tell
/// of it may not have woken: another thread was quicker to silence it. Requires: mutex_.
void Host::wake_for_deadline() {
  if (rests_.empty()) return;
  const auto deadline = node_.deadline();
  if (deadline && *deadline < *rests_.rbegin()) ring();
}

// --- the end ---

void Host::shut_down() {
  {
    const std::lock_guard lock(mutex_);
    node_.shut_down(now(), decisions_);
    carry_out();
  }
  const auto until = Clock::now() + kEndWithin;
  bool killed = false;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (workers_.empty() && starting_ == 0 && inbox_.empty()) break;
      if (Clock::now() >= until && !std::exchange(killed, true)) {
        for (auto& [client, worker] : workers_) worker->child.kill();
      }
    }
    if (!poll()) {
      const auto soon = Clock::now() + std::chrono::milliseconds(1);
      sleep(Parker::mine(), &soon);
    }
  }
}

std::vector<Node::WorkerState> Host::workers() {
  const std::lock_guard lock(mutex_);
  return node_.workers();
}

Demand Host::available() {
  const std::lock_guard lock(mutex_);
  return node_.available();
}

/// Whether a worker runs something that may take memory.
bool Host::is_busy() {
  const std::lock_guard lock(mutex_);
  const auto workers = node_.workers();
  return std::any_of(workers.begin(), workers.end(), [](const Node::WorkerState& worker) {
    return worker.phase == Node::WorkerState::Phase::running ||
           worker.phase == Node::WorkerState::Phase::blocked;
  });
}

bool Host::relieve_memory() {
  bool relieved = false;
  {
    const std::lock_guard lock(mutex_);
    relieved = node_.relieve_memory(now(), decisions_);
    carry_out();
  }
  ring();
  return relieved;
}

Node::Counts Host::counts() {
  const std::lock_guard lock(mutex_);
  return node_.counts();
}

}  // namespace ray::detail
