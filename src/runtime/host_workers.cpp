// Worker processes: started, listened to until the last word, buried.
#include <signal.h>
#include <sys/epoll.h>

#include "runtime/host.hpp"
#include "task/message_codec.hpp"

namespace ray::detail {

namespace {

void watch(int epoll, int descriptor, ClientId client) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = client;
  if (descriptor >= 0) ::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

}  // namespace

void Host::perform(decision::StartWorker&& start) {
  ++starting_;
  later([this, client = start.client] { start_worker(client); });
}

/// On the chores' thread, which lives as long as the runtime (see Spawner).
void Host::start_worker(ClientId client) {
  SystemFault fault;
  std::optional<Child> child;
  auto ends = Link::make(LinkLimits{}, fault);
  auto output = LogPipe::make(fault);
  auto errors = LogPipe::make(fault);
  if (ends && output && errors) {
    if (auto started = spawner_.spawn(kWireVersion, ends->worker_socket.number(), fault,
                                      output->writing.number(), errors->writing.number())) {
      child.emplace(std::move(*started));
      logs_.add(client, child->pid(), std::move(*output), std::move(*errors));
    }
    ends->worker_socket.close();
  }
  const std::lock_guard lock(mutex_);
  --starting_;
  if (!child) {
    node_.worker_failed(client, fault.text(), now(), decisions_);
    carry_out();
    return;
  }
  auto worker = std::make_unique<WorkerEnd>(std::move(ends->host), std::move(*child));
  watch(watch_.number(), worker->link.bell(), client);
  if (worker->child.death_notice() >= 0) {
    watch(watch_.number(), worker->child.death_notice(), client);
  } else {
    watch(watch_.number(), worker->link.socket().number(), client);
  }
  if (!settle(worker->link)) ring();
  if (killed_early_.erase(client) != 0) worker->child.kill();
  workers_.emplace(client, std::move(worker));
}

void Host::perform(decision::KillWorker&& kill) {
  const auto found = workers_.find(kill.client);
  if (found == workers_.end()) {
    killed_early_.insert(kill.client);
  } else {
    found->second->child.kill();
  }
}

/// Requires: mutex_.
void Host::look_for_deaths() {
  for (auto at = workers_.begin(); at != workers_.end();) {
    auto how = at->second->child.ended();
    if (!how) {
      ++at;
      continue;
    }
    const ClientId client = at->first;
    const std::unique_ptr<WorkerEnd> worker = std::move(at->second);
    at = workers_.erase(at);
    // What it said last: it may have been its result.
    while (read_link(client, *worker, SIZE_MAX)) {
    }
    const std::string last = logs_.ended(client);
    if (!last.empty()) *how += ", its last lines being \"" + last + "\",";
    node_.worker_ended(client, *how, now(), decisions_);
    carry_out();
    at = workers_.begin();  // The decisions may have changed the map.
  }
}

/// Requires: mutex_.
bool Host::read_link(ClientId client, WorkerEnd& worker, std::size_t most) {
  bool any = false;
  std::span<const std::byte> body;
  for (std::size_t n = 0; n < most && worker.link.receive(body); ++n) {
    any = true;
    std::optional<Message> message;
    try {
      message = decode(body);
    } catch (const SerializationError&) {  // Its memory is spoilt, or it is not ours.
      worker.child.kill();
      break;
    }
    if (const auto* mapped = std::get_if<message::SegmentMapped>(&*message)) {
      seal_segment(worker, mapped->segment);
    }
    node_.receive(client, std::move(*message), now(), decisions_);
    carry_out();
  }
  if (worker.link.queued_bytes() != 0) worker.link.flush();
  if (worker.link.fault() != RingFault::none) worker.child.kill();
  return any;
}

/// Requires: mutex_.
bool Host::read_links() {
  bool any = false;
  for (auto& [client, worker] : workers_) {  // What is decided meanwhile adds and removes none.
    any |= read_link(client, *worker, kMessagesPerLook);
  }
  return any;
}

// --- what takes its time ---

void Host::later(std::function<void()> chore) {
  {
    const std::lock_guard lock(chores_mutex_);
    chores_queue_.push_back(std::move(chore));
  }
  chores_wanted_.notify_one();
}

void Host::chores() {
  for (;;) {
    std::function<void()> chore;
    {
      std::unique_lock lock(chores_mutex_);
      chores_wanted_.wait(lock, [this] { return chores_end_ || !chores_queue_.empty(); });
      if (chores_queue_.empty()) return;
      chore = std::move(chores_queue_.front());
      chores_queue_.pop_front();
    }
    chore();
    ring();  // The node may have decided something for the driver.
  }
}

}  // namespace ray::detail
