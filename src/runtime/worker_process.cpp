#include "runtime/worker_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <ray/detail/records.hpp>
#include <ray/error.hpp>
#include <ray/task/record_types.hpp>
#include <ray/task/values.hpp>

#include "runtime/host.hpp"
#include "runtime/parts.hpp"
#include "runtime/reader_role.hpp"
#include "task/message_codec.hpp"
#include "task/timespec.hpp"

namespace ray::detail {

namespace {

constexpr int kDriverGone = 0;  // Nobody is left to whom a status would say anything.
constexpr int kForkedChild = 0;
constexpr int kLinkLost = 71;
constexpr int kMillisecondsBetweenTries = 1;
constexpr auto kSegmentWithin = std::chrono::seconds(30);

/// A child that a task forked and that came back out of the task: it is no worker.
std::atomic<bool> is_forked_child{false};

/// A task spoilt what is not its own: the node takes this process for dead.
[[noreturn]] void give_up_link(const char* why) {
  std::fprintf(stderr, "ray: this worker process has lost its link with the driver: %s\n", why);
  ::_exit(kLinkLost);
}
constexpr const char* kOverwritten = "its memory was overwritten";
constexpr const char* kClosed = "a descriptor of the library's was closed";

/// A worker's way to its node.
class WorkerChannel final : public Channel {
public:
  explicit WorkerChannel(Link link) : link_(std::move(link)) {}
  void set_receiver(Receiver& receiver) { receiver_ = &receiver; }

  void send(Message message) override {
    if (is_forked_child) ::_exit(kForkedChild);
    const std::lock_guard lock(send_mutex_);
    out_.clear();
    encode(message, out_);
    for (;;) {
      {
        const std::lock_guard link(link_mutex_);
        const Link::Sent sent = link_.send(out_, is_urgent(message));
        if (sent == Link::Sent::broken) give_up_link(kOverwritten);
        if (sent != Link::Sent::refused) return;
        link_.flush();
      }
      // As much as may be waits to be sent already: who sends so much waits for the node. The bell
      // is for those who read.
      ::poll(nullptr, 0, kMillisecondsBetweenTries);
    }
  }

  bool poll() override {
    if (is_forked_child) ::_exit(kForkedChild);
    const ReaderRole::Turn turn(reader_);
    if (!turn) return false;
    bool any = false;
    for (;;) {
      std::optional<Message> message;
      {
        const std::lock_guard lock(link_mutex_);
        std::span<const std::byte> body;
        if (!link_.receive(body)) {
          if (link_.queued_bytes() != 0) link_.flush();
          if (link_.fault() != RingFault::none) give_up_link(kOverwritten);
          break;
        }
        message = decode(body);
      }
      any = true;
      receiver_->receive(std::move(*message));
    }
    return any;
  }

  void attend(bool begins) override {
    const std::lock_guard lock(link_mutex_);
    attending_ += begins ? 1 : -1;
    if (attending_ > 1 || (attending_ == 1 && !begins)) return;
    if (!settle()) sleepers_.back()->unpark();
  }

  void sleep(Parker& parker, const Clock::time_point* deadline) override {
    bool quiet = true;
    {
      const std::lock_guard lock(link_mutex_);
      sleepers_.push_back(&parker);
      quiet = settle();
    }
    const int bell = quiet ? parker.rest_begins() : -1;
    if (bell >= 0) {
      pollfd watched[3] = {{.fd = link_.bell(), .events = POLLIN, .revents = 0},
                           {.fd = bell, .events = POLLIN, .revents = 0},
                           {.fd = link_.socket().number(), .events = POLLIN, .revents = 0}};
      timespec rest{};
      if (deadline != nullptr) {
        const auto left = std::max<std::chrono::nanoseconds>(*deadline - Clock::now(),
                                                             std::chrono::nanoseconds(0));
        rest = to_timespec(left);
      }
      ::ppoll(watched, 3, deadline != nullptr ? &rest : nullptr, nullptr);
      if ((watched[2].revents & (POLLHUP | POLLERR)) != 0) ::_exit(kDriverGone);
      // A task closed what is not its own.
      if (((watched[0].revents | watched[2].revents) & POLLNVAL) != 0) give_up_link(kClosed);
      parker.rest_ends();
      if ((watched[2].revents & POLLIN) != 0) take_segments();
    }
    const std::lock_guard lock(link_mutex_);
    std::erase(sleepers_, &parker);
    // As in the host: others may go on sleeping.
    link_.awake(true);
    settle();
  }

  std::span<const std::byte> view(const Place& place, std::shared_ptr<void>& memory) override {
    return bytes_of(place, memory);
  }
  std::span<std::byte> writable(const Place& place) override {
    std::shared_ptr<void> memory;
    return bytes_of(place, memory);
  }
  void shut_down() override {}

private:
  /// The node must act on it even if the driver does something else.
  static bool is_urgent(const Message& message) {
    return std::holds_alternative<message::Blocked>(message) ||
           std::holds_alternative<message::Reserve>(message) ||
           std::holds_alternative<message::Fetch>(message);
  }

  /// Requires: link_mutex_.
  bool settle() { return link_.set_readers(attending_ > 0, !sleepers_.empty()); }

  std::span<std::byte> bytes_of(const Place& place, std::shared_ptr<void>& memory) {
    const std::lock_guard lock(segments_mutex_);
    const auto until = Clock::now() + kSegmentWithin;
    while (!segments_.contains(place.segment)) {
      if (!take_segment(100) && Clock::now() > until) {
        throw Error("ray: segment " + std::to_string(place.segment) +
                    " of the object store was not handed over");
      }
    }
    const std::shared_ptr<Segment>& segment = segments_.at(place.segment);
    const std::span<std::byte> all = segment->bytes();
    memory = segment;
    if (place.offset > all.size() || place.size > all.size() - place.offset) {
      throw Error("ray: a place outside of its segment in the object store");
    }
    return all.subspan(static_cast<std::size_t>(place.offset),
                       static_cast<std::size_t>(place.size));
  }

  /// What was shown already, and what is gone: its memory is free when nobody maps it.
  void take_segments() {
    const std::unique_lock lock(segments_mutex_, std::try_to_lock);
    if (!lock) return;  // Who has it reads them.
    try {
      while (take_segment(0)) {
      }
    } catch (const Error&) {  // Told to whoever needs it.
    }
  }

  /// Reads one record of the socket; false if none came in that time.
  bool take_segment(int milliseconds) {
    pollfd watched{.fd = link_.socket().number(), .events = POLLIN, .revents = 0};
    ::poll(&watched, 1, milliseconds);
    std::byte buffer[UnixSocket::kRecordMax];
    UnixSocket::Record record;
    SystemFault fault;
    switch (link_.socket().receive(buffer, record, fault)) {
      case UnixSocket::Received::record:
        break;
      case UnixSocket::Received::closed:
        ::_exit(kDriverGone);
      default:
        return false;
    }
    const SegmentRecord segment = SegmentRecord::read({buffer, record.size});
    if (segment.size == 0) {
      segments_.erase(segment.segment);
      return true;
    }
    const MemoryAccess access = segment.writes != 0 ? MemoryAccess::read_write : MemoryAccess::read;
    auto mapped = Segment::attach(std::move(record.descriptor), segment.size, access, fault);
    if (!mapped) throw Error("ray: a segment of the object store: " + fault.text());
    segments_.insert_or_assign(segment.segment, std::make_shared<Segment>(std::move(*mapped)));
    if (access == MemoryAccess::read_write) send(message::SegmentMapped{segment.segment});
    return true;
  }

  Link link_;
  Receiver* receiver_ = nullptr;
  std::mutex send_mutex_;
  Bytes out_;  // Guarded by send_mutex_.
  std::mutex link_mutex_;
  int attending_ = 0;              // Guarded by link_mutex_.
  std::vector<Parker*> sleepers_;  // Guarded by link_mutex_.
  ReaderRole reader_;
  std::mutex segments_mutex_;
  std::map<std::uint32_t, std::shared_ptr<Segment>> segments_;  // Guarded by segments_mutex_.
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "ray: this worker process cannot go on: %s\n", why.c_str());
  ::_exit(70);
}

WorkerStart& worker_start() {
  static WorkerStart start = become_worker();
  return start;
}
/// Before main: a worker whose driver dies shall not go on, whatever it does until it is one.
/// Another version's variable is left alone: it came down from a program that this one is no part
/// of.
const bool started_as_worker = [] {
  const char* variable = std::getenv(kWorkerVariable);
  const std::string version = std::to_string(kWireVersion) + ":";
  return variable != nullptr && std::string_view(variable).starts_with(version) &&
         worker_start().is_worker;
}();

/// What this process prints. The mutex is held while a mark is written.
struct Output {
  std::mutex mutex;
  bool shown = false;
  std::optional<std::string> name;
};
Output& output() {
  static auto* instance = new Output;  // Threads may print while the process ends.
  return *instance;
}

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno != EINTR) return;
    if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void flush_output() {
  std::cout.flush();  // Where it does not write through to stdout.
  std::clog.flush();
  std::fflush(nullptr);
}

/// What the program has printed until now its driver prints as well: it is not shown.
void begin_output(bool shown) {
  flush_output();
  SystemFault fault;
  if (!shown) {
    const Descriptor nothing(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (!nothing || !redirect_output(nothing, nothing, fault)) give_up(fault.text());
  }
  {
    const std::lock_guard lock(output().mutex);
    output().shown = shown;
  }
  name_output("");
}

/// Waits for the node's first message.
class Greeting final : public Channel::Receiver {
public:
  void receive(Message message) override {
    if (auto* welcome = std::get_if<message::Welcome>(&message)) {
      welcome_ = std::move(*welcome);
    } else {
      early.push_back(std::move(message));
    }
  }
  std::optional<message::Welcome> welcome_;
  std::vector<Message> early;  // What came right behind it.
};

}  // namespace

bool is_worker_process() { return started_as_worker; }

void name_output(std::string_view name) {
  const std::lock_guard lock(output().mutex);
  if (!output().shown || output().name == name) return;
  output().name = name;
  std::fflush(stdout);  // What another task began.
  const std::string mark = log_mark(name);
  write_all(STDOUT_FILENO, mark);
  write_all(STDERR_FILENO, mark);
}

void serve_as_worker(void (*enter)(Engine& engine)) {
  WorkerStart& start = worker_start();
  if (!start.fault.empty()) give_up(start.fault);
  SystemFault fault;
  auto link = Link::attach(std::move(start.socket), fault);
  if (!link) give_up(fault.text());
  auto channel = std::make_unique<WorkerChannel>(std::move(*link));
  Greeting greeting;
  channel->set_receiver(greeting);
  channel->send(message::Hello{.version = kWireVersion,
                               .digest = record_types_digest(),
                               .functions = record_types_count(),
                               .pid = ::getpid()});
  Parker& parker = Parker::mine();
  while (!greeting.welcome_) {
    if (!channel->poll()) channel->sleep(parker, nullptr);
  }
  RuntimeOptions options;
  InputArchive in(greeting.welcome_->options);
  in(options);
  begin_output(options.log_to_driver);
  const bool traced = std::exchange(options.task_events, false);  // The node records them.
  auto* engine = new Engine(options, Engine::WorkerRole{});
  Client& client = *engine->parts().client;
  WorkerChannel& opened = *channel;
  opened.set_receiver(client);
  client.open(std::move(channel), *greeting.welcome_, traced);
  for (Message& message : greeting.early) client.receive(std::move(message));
  ::pthread_atfork(nullptr, nullptr, [] { is_forked_child.store(true); });
  enter(*engine);
  // Whatever happens: main is not for a worker.
  const std::exception_ptr error = thrown_by([&] { client.work(); });
  if (error != nullptr) give_up("ended by " + describe(error));
  flush_output();
  ::_exit(0);
}

}  // namespace ray::detail
