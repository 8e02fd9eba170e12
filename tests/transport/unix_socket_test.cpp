// Records and descriptors between two ends: what is too much is refused and closed.
#include "support/catch.hpp"

#include "transport/unix_socket.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace {

using ray::detail::Descriptor;
using ray::detail::SystemFault;
using ray::detail::UnixSocket;
using Received = UnixSocket::Received;
using Sent = UnixSocket::Sent;

struct Pair {
  SystemFault fault;
  std::pair<UnixSocket, UnixSocket> ends = *UnixSocket::pair(fault);
  UnixSocket& first = ends.first;
  UnixSocket& second = ends.second;
  std::array<std::byte, 64> buffer{};
  UnixSocket::Record record;

  Received receive() { return second.receive(buffer, record, fault); }
  std::string text() const { return {reinterpret_cast<const char*>(buffer.data()), record.size}; }
};

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

/// As a peer would that keeps to no rules.
bool send_many(int socket, const std::vector<int>& descriptors, const std::string& text) {
  std::vector<std::byte> control(CMSG_SPACE(sizeof(int) * descriptors.size()));
  iovec bytes{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(part), descriptors.data(), sizeof(int) * descriptors.size());
  }
  return ::sendmsg(socket, &message, 0) == static_cast<ssize_t>(text.size());
}

}  // namespace

TEST_CASE("records keep their bounds, with a descriptor or without") {
  Pair pair;
  CHECK(pair.receive() == Received::nothing);
  REQUIRE(pair.first.send(bytes_of("one"), -1, pair.fault) == Sent::all);
  REQUIRE(pair.first.send(bytes_of("two!"), pair.first.number(), pair.fault) == Sent::all);
  REQUIRE(pair.receive() == Received::record);
  CHECK(pair.text() == "one");
  CHECK_FALSE(pair.record.descriptor);
  REQUIRE(pair.receive() == Received::record);
  CHECK(pair.text() == "two!");
  REQUIRE(pair.record.descriptor);
  CHECK((::fcntl(pair.record.descriptor.number(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(pair.first.number(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("descriptors of every kind arrive as what they are") {
  Pair pair;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Descriptor reading(ends[0]);
  const Descriptor writing(ends[1]);
  const Descriptor folder(::open("/", O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  for (const int sent : {reading.number(), folder.number(), pair.second.number()}) {
    REQUIRE(pair.first.send(bytes_of("x"), sent, pair.fault) == Sent::all);
    REQUIRE(pair.receive() == Received::record);
    struct stat before {};
    struct stat after {};
    REQUIRE(::fstat(sent, &before) == 0);
    REQUIRE(::fstat(pair.record.descriptor.number(), &after) == 0);
    CHECK(before.st_ino == after.st_ino);
    CHECK((before.st_mode & S_IFMT) == (after.st_mode & S_IFMT));
    // What is expected to be memory or a socket is looked at before it is used.
    CHECK(ray::detail::is_record_socket(pair.record.descriptor.number()) ==
          S_ISSOCK(after.st_mode));
  }
}

TEST_CASE("a record with the wrong number of descriptors is refused, and none stays open") {
  Pair pair;
  const std::size_t before = open_descriptors();
  for (const std::size_t count : {std::size_t{2}, std::size_t{3}, std::size_t{253}}) {
    REQUIRE(send_many(pair.first.number(), std::vector<int>(count, 0), "many"));
    CHECK(pair.receive() == Received::refused);
    CHECK_FALSE(pair.record.descriptor);
    CHECK(open_descriptors() == before);
  }
  REQUIRE(send_many(pair.first.number(), {}, "none"));
  CHECK(pair.receive() == Received::record);
  CHECK_FALSE(pair.record.descriptor);
}

TEST_CASE("a record that is longer than the buffer is refused, with its descriptor") {
  Pair pair;
  const std::size_t before = open_descriptors();
  REQUIRE(send_many(pair.first.number(), {0}, std::string(65, 'x')));
  CHECK(pair.receive() == Received::refused);
  CHECK(open_descriptors() == before);
  REQUIRE(pair.first.send(bytes_of(std::string(64, 'y')), -1, pair.fault) == Sent::all);
  CHECK(pair.receive() == Received::record);
}

TEST_CASE("a socket that is full says so and goes on when it is read") {
  Pair pair;
  int sent = 0;
  while (pair.first.send(bytes_of("filling"), -1, pair.fault) == Sent::all)
    REQUIRE(++sent < 100'000);
  CHECK(pair.first.send(bytes_of("more"), -1, pair.fault) == Sent::full);
  for (int i = 0; i < sent; ++i) REQUIRE(pair.receive() == Received::record);
  CHECK(pair.first.send(bytes_of("more"), -1, pair.fault) == Sent::all);
}

TEST_CASE("the end of a process is seen after all that it had sent") {
  Pair pair;
  // One record that the other never reads: the kernel says ECONNRESET first.
  REQUIRE(pair.second.send(bytes_of("unread"), -1, pair.fault) == Sent::all);
  const pid_t child = ::fork();
  if (child == 0) {
    pair.second.close();
    for (int i = 0; i < 3; ++i) {
      if (pair.first.send(bytes_of("last words"), -1, pair.fault) != Sent::all) ::_exit(1);
    }
    ::_exit(0);
  }
  pair.first.close();
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(pair.receive() == Received::record);
    CHECK(pair.text() == "last words");
  }
  CHECK(pair.receive() == Received::closed);
  CHECK(pair.receive() == Received::closed);
  CHECK(pair.second.send(bytes_of("hello?"), -1, pair.fault) == Sent::closed);
}

TEST_CASE("a record says who sent it, and the socket who made it") {
  Pair pair;
  REQUIRE(pair.second.identify_senders(pair.fault));
  const pid_t child = ::fork();
  if (child == 0) {
    const auto maker = ray::detail::socket_maker(pair.first.number(), pair.fault);
    const bool right = maker && maker->pid == ::getppid() && maker->uid == ::getuid();
    ::_exit(right && pair.first.send(bytes_of("me"), -1, pair.fault) == Sent::all ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  REQUIRE(pair.receive() == Received::record);
  CHECK(pair.record.sender.pid == child);
  CHECK(pair.record.sender.uid == ::getuid());
}

TEST_CASE("a descriptor that is no socket is a fault that names the call") {
  SystemFault fault;
  UnixSocket socket(Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  std::array<std::byte, 8> buffer{};
  UnixSocket::Record record;
  CHECK(socket.receive(buffer, record, fault) == Received::fault);
  CHECK(fault.text() == "recvmsg: Socket operation on non-socket");
  CHECK(socket.send(bytes_of("x"), -1, fault) == Sent::fault);
  CHECK_FALSE(ray::detail::socket_maker(socket.number(), fault));
}
