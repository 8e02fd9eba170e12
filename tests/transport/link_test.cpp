// Two ends of a link, in one process and in two.
#include "support/catch.hpp"

#include "transport/link.hpp"

#include "api/probes.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using ray::detail::Descriptor;
using ray::detail::Link;
using ray::detail::LinkLimits;
using ray::detail::RingFault;
using ray::detail::SystemFault;
using ray::detail::UnixSocket;
using Sent = Link::Sent;
using Bytes = std::vector<std::byte>;

Bytes pattern(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((seed + i) * 0x9e3779b97f4a7c15ULL >> 56);
  }
  return bytes;
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

Link::Ends make(const LinkLimits& limits = {}) {
  SystemFault fault;
  auto ends = Link::make(limits, fault);
  INFO(fault.text());
  REQUIRE(ends.has_value());
  return std::move(*ends);
}

Link attach(UnixSocket& socket) {
  SystemFault fault;
  auto link = Link::attach(Descriptor(::dup(socket.number())), fault);
  socket.close();
  INFO(fault.text());
  REQUIRE(link.has_value());
  return std::move(*link);
}

struct Both {
  explicit Both(const LinkLimits& limits = {})
      : ends(make(limits)), host(ends.host), worker(attach(ends.worker_socket)) {}
  Link::Ends ends;
  Link& host;
  Link worker;
};

/// Waits for a message; for a peer that ended or a time that passed there is none.
bool await(Link& link, std::span<const std::byte>& body) {
  while (!link.receive(body)) {
    if (link.fault() != RingFault::none || !link.sleep(20s)) return false;
  }
  return true;
}

void flush_all(Link& link) {
  while (!link.flush()) {
    if (!link.sleep(20s)) return;
  }
}

/// Runs `work` in another process; its result is the exit status.
template <class Work>
pid_t in_child(const Work& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::alarm(50);
  ::_exit(work());
}

int status_of(pid_t child) {
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("messages go both ways through a link") {
  Both both;
  std::span<const std::byte> body;
  CHECK_FALSE(both.host.receive(body));
  for (const std::size_t size : {1u, 7u, 8u, 100u, 5000u, 262'136u, 262'137u, 300'000u}) {
    const Bytes message = pattern(size, size);
    REQUIRE(both.host.send(message, false) == Sent::in_ring);
    REQUIRE(both.worker.receive(body));
    REQUIRE(same(body, message));
    REQUIRE(both.worker.send(message, false) == Sent::in_ring);
    REQUIRE(both.host.receive(body));
    REQUIRE(same(body, message));
  }
  CHECK_FALSE(both.worker.receive(body));
  CHECK(both.worker.fault() == RingFault::none);
}

TEST_CASE("what does not fit into the ring waits in order and is sent with room") {
  Both both({.ring_bytes = 4096, .message_bytes = 20'000, .queue_bytes = 100'000});
  CHECK(both.host.send(pattern(20'001, 0), false) == Sent::refused);
  CHECK(both.host.send({}, false) == Sent::refused);
  std::vector<Bytes> sent;
  std::mt19937 random(5);
  Sent result = Sent::in_ring;
  for (std::uint64_t i = 0; result != Sent::refused; ++i) {
    sent.push_back(pattern(1 + random() % 20'000, i));
    result = both.host.send(sent.back(), false);
  }
  sent.pop_back();  // What was refused is not sent, not even in part.
  CHECK(both.host.queued_bytes() > 80'000);
  CHECK_FALSE(both.host.flush());
  std::size_t received = 0;
  std::span<const std::byte> body;
  while (received < sent.size()) {
    while (both.worker.receive(body)) {
      REQUIRE(same(body, sent[received]));
      ++received;
    }
    REQUIRE(both.worker.fault() == RingFault::none);
    both.host.flush();
  }
  CHECK(both.host.flush());
  CHECK(both.host.queued_bytes() == 0);
  CHECK_FALSE(both.worker.receive(body));
}

TEST_CASE(
    "what is left over after a flush is rung for, also if the thread that sleeps began before") {
  Both both({.ring_bytes = 4096, .message_bytes = 100'000, .queue_bytes = 200'000});
  const auto rung = [&] {
    pollfd watched{.fd = both.host.bell(), .events = POLLIN, .revents = 0};
    return ::poll(&watched, 1, 0) == 1;
  };
  std::span<const std::byte> body;
  // One thread sleeps, another sends: it says nothing more before there is room.
  REQUIRE(both.host.prepare_sleep());
  REQUIRE(both.host.send(pattern(50'000, 0), false) == Sent::queued);
  CHECK_FALSE(rung());
  // Its bell is heard by one that flushes and goes.
  for (int i = 0; i < 5; ++i) {
    CAPTURE(i);
    REQUIRE_FALSE(both.worker.receive(body));
    REQUIRE(rung());
    both.host.awake(true);
    REQUIRE_FALSE(both.host.flush());
    REQUIRE_FALSE(rung());
  }
  while (!both.host.flush()) REQUIRE_FALSE(both.worker.receive(body));
  REQUIRE(both.worker.receive(body));
  CHECK(same(body, pattern(50'000, 0)));
}

TEST_CASE("a message of 16 MiB goes through a ring of 1 MiB, to another process and back") {
  Link::Ends ends = make();
  const Bytes large = pattern(std::size_t{16} << 20, 1);
  const pid_t child = in_child([&] {
    SystemFault fault;
    auto link = Link::attach(Descriptor(::dup(ends.worker_socket.number())), fault);
    std::span<const std::byte> body;
    if (!link || !await(*link, body)) return 1;
    const Bytes copy(body.begin(), body.end());
    link->send(copy, false);
    flush_all(*link);
    return await(*link, body) ? 0 : 2;
  });
  ends.worker_socket.close();
  REQUIRE(ends.host.send(large, false) == Sent::queued);
  flush_all(ends.host);
  std::span<const std::byte> body;
  REQUIRE(await(ends.host, body));
  CHECK(same(body, large));
  ends.host.send(pattern(1, 1), false);
  CHECK(status_of(child) == 0);
}

namespace {

std::size_t size_of(std::uint64_t message) {
  const std::uint64_t mixed = message * 0x9e3779b97f4a7c15ULL >> 20;
  return static_cast<std::size_t>(mixed % 500 == 0 ? 1 + mixed % 60'000 : 1 + mixed % 200);
}

/// Sends `count` messages in bursts and reads as many, and sleeps whenever it is far ahead or has
/// nothing else to do. 0, or a number for what went wrong.
int exchange(Link& link, std::uint64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  while (sent < count || received < count || link.queued_bytes() > 0) {
    bool idle = true;
    std::span<const std::byte> body;
    while (link.receive(body)) {
      if (!same(body, pattern(size_of(received), received))) return 1;
      ++received;
      idle = false;
    }
    if (link.fault() != RingFault::none) return 2;
    const bool all_out = link.flush();
    for (auto burst = all_out ? random() % 64 : 0; burst > 0 && sent < count; --burst) {
      if (link.send(pattern(size_of(sent), sent), random() % 16 == 0) == Sent::refused) return 3;
      ++sent;
    }
    const bool ahead = received < count && sent > received + 500;
    const bool must_wait = sent == count ? received < count : ahead;
    if (idle && (must_wait || link.queued_bytes() > 0) && !link.sleep(20s)) return 4;
  }
  return 0;
}

}  // namespace

TEST_CASE("two processes exchange messages and sleep, and no wake-up is lost") {
  Link::Ends ends = make({.ring_bytes = 16'384});
  const auto count = static_cast<std::uint64_t>(probes::scaled(100'000));
  const pid_t child = in_child([&] {
    SystemFault fault;
    auto link = Link::attach(Descriptor(::dup(ends.worker_socket.number())), fault);
    return link ? exchange(*link, count, 2) : 10;
  });
  ends.worker_socket.close();
  CHECK(exchange(ends.host, count, 1) == 0);
  CHECK(status_of(child) == 0);
}

TEST_CASE("what a process had written before it was killed can be read") {
  Link::Ends ends = make();
  const pid_t child = in_child([&] {
    SystemFault fault;
    auto link = Link::attach(Descriptor(::dup(ends.worker_socket.number())), fault);
    for (std::uint64_t i = 0; i < 100; ++i) link->send(pattern(1000, i), false);
    link->send(pattern(1'000'000, 7), false);  // Only in part.
    ::raise(SIGKILL);
    return 0;
  });
  ends.worker_socket.close();
  CHECK(WIFSIGNALED(status_of(child)));
  std::span<const std::byte> body;
  for (std::uint64_t i = 0; i < 100; ++i) {
    REQUIRE(ends.host.receive(body));
    REQUIRE(same(body, pattern(1000, i)));
  }
  CHECK_FALSE(ends.host.receive(body));
  CHECK(ends.host.fault() == RingFault::none);
  std::array<std::byte, 8> buffer{};
  UnixSocket::Record record;
  SystemFault fault;
  CHECK(ends.host.socket().receive(buffer, record, fault) == UnixSocket::Received::closed);
  CHECK(ends.host.send(pattern(8, 1), true) == Sent::in_ring);  // Nobody reads it; no harm.
  CHECK(ends.host.sleep(std::nullopt));                         // Its death wakes at once.
}

TEST_CASE("sleep ends with its time, or by the bell") {
  Both both;
  CHECK_FALSE(both.host.sleep(1ms));
  both.worker.send(pattern(3, 3), false);
  CHECK(both.host.sleep(20s));  // Something is there already.
  std::span<const std::byte> body;
  REQUIRE(both.host.receive(body));
  std::thread later([&] { both.worker.send(pattern(3, 3), false); });
  CHECK(await(both.host, body));
  later.join();
}

TEST_CASE("a reader that is away is rung for what is urgent") {
  Both both;
  const auto rung = [&] {
    std::uint64_t times = 0;
    return ::read(both.worker.bell(), &times, sizeof times) == sizeof times;
  };
  both.worker.set_away();
  both.host.send(pattern(10, 0), false);
  CHECK_FALSE(rung());
  both.host.send(pattern(10, 0), true);
  CHECK(rung());
  both.host.send(pattern(10, 0), true);
  CHECK_FALSE(rung());  // It knows.
}

TEST_CASE("parts of messages that do not belong together break the link") {
  // A ring of the same memory, written as a worker would that keeps to no rules.
  SystemFault fault;
  Link::Ends ends = make({.ring_bytes = 4096, .message_bytes = 5000});
  std::array<std::byte, 64> buffer{};
  UnixSocket::Record record;
  REQUIRE(ends.worker_socket.receive(buffer, record, fault) == UnixSocket::Received::record);
  void* memory = ::mmap(nullptr, 2 * (4096 + 192), PROT_READ | PROT_WRITE, MAP_SHARED,
                        record.descriptor.number(), 0);
  REQUIRE(memory != MAP_FAILED);
  ray::detail::RingWriter evil({static_cast<std::byte*>(memory) + 4096 + 192, 4096 + 192}, 4096);
  SECTION("it is longer than a message may be") { evil.try_write(pattern(10, 0), 4991); }
  SECTION("the rest is another than was said") {
    evil.try_write(pattern(10, 0), 100);
    evil.try_write(pattern(10, 0), 91);
  }
  SECTION("another message comes before the rest") {
    evil.try_write(pattern(10, 0), 100);
    evil.try_write(pattern(10, 0), 0);
  }
  SECTION("a part is empty") {
    evil.try_write(pattern(10, 0), 100);
    evil.try_write({}, 100);
  }
  SECTION("a message is empty") { evil.try_write({}, 0); }
  std::span<const std::byte> body;
  CHECK_FALSE(ends.host.receive(body));
  CHECK(ends.host.fault() == RingFault::sequence);
  CHECK(ends.host.send(pattern(1, 1), false) == Sent::broken);
  ::munmap(memory, 2 * (4096 + 192));
}

TEST_CASE("a worker takes no link that is not what it should be") {
  SystemFault fault;
  SECTION("nothing was sent") {
    auto sockets = UnixSocket::pair(fault);
    CHECK_FALSE(Link::attach(Descriptor(::dup(sockets->second.number())), fault));
    CHECK(fault.text() == "the socket of a worker does not hold its link");
  }
  SECTION("something else was sent") {
    auto sockets = UnixSocket::pair(fault);
    sockets->first.send(pattern(40, 1), -1, fault);
    CHECK_FALSE(Link::attach(Descriptor(::dup(sockets->second.number())), fault));
    CHECK(fault.text() == "the offer of a link is not as it should be");
  }
  SECTION("with other descriptors") {
    // The true records, sent on with a pipe, a folder and a socket in place of what they name.
    const int what = GENERATE(0, 1, 2, 3);
    const int which = GENERATE(0, 1, 2);
    Link::Ends ends = make();
    auto sockets = UnixSocket::pair(fault);
    int pipes[2];
    REQUIRE(::pipe2(pipes, O_CLOEXEC) == 0);
    const Descriptor reading(pipes[0]);
    const Descriptor writing(pipes[1]);
    const Descriptor folder(::open("/", O_DIRECTORY | O_CLOEXEC));
    const Descriptor unsealed(::memfd_create("unsealed", MFD_CLOEXEC));
    REQUIRE(::ftruncate(unsealed.number(), 1 << 22) == 0);
    const int others[] = {reading.number(), folder.number(), sockets->first.number(),
                          unsealed.number()};
    for (int i = 0; i < 3; ++i) {
      std::array<std::byte, 64> buffer{};
      UnixSocket::Record record;
      REQUIRE(ends.worker_socket.receive(buffer, record, fault) == UnixSocket::Received::record);
      REQUIRE(record.descriptor);
      sockets->first.send(std::span(buffer).first(record.size),
                          i == which ? others[what] : record.descriptor.number(), fault);
    }
    CHECK_FALSE(Link::attach(Descriptor(::dup(sockets->second.number())), fault));
  }
  SECTION("impossible limits") {
    CHECK_FALSE(Link::make({.ring_bytes = 5000}, fault));
    CHECK_FALSE(Link::make({.ring_bytes = 2048}, fault));
    CHECK_FALSE(Link::make({.message_bytes = std::uint64_t{1} << 32}, fault));
    CHECK(fault.text() == "the limits of a link are not possible");
  }
}
