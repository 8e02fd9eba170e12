#include "process_limits/raw_limits.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

extern char** environ;

namespace limits {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// The result of a system call, or its error as an exception.
template <class Result>
Result checked(Result result, const char* what) {
  if (result < 0) fail(what);
  return result;
}

/// Owns: a file descriptor.
class Descriptor {
public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }

  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }
  int number() const { return number_; }

private:
  int number_ = -1;
};

/// Two ends of a Unix socket, or a pipe's end to read and its end to write.
struct Ends {
  Descriptor mine;
  Descriptor other;

  static Ends socket() {
    int ends[2];
    checked(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    return {Descriptor(ends[0]), Descriptor(ends[1])};
  }
  static Ends pipe() {
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe2");
    return {Descriptor(ends[0]), Descriptor(ends[1])};
  }
};

/// Owns: memory that children share, of one memfd whose pages are not there yet.
class SharedMemory {
public:
  explicit SharedMemory(std::size_t size) : size_(size) {
    const Descriptor file(checked(memfd_create("limits", MFD_CLOEXEC), "memfd_create"));
    checked(ftruncate(file.number(), static_cast<off_t>(size)), "ftruncate");
    data_ = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.number(), 0);
    if (data_ == MAP_FAILED) fail("mmap");
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { munmap(data_, size_); }

  std::byte* data() const { return static_cast<std::byte*>(data_); }

private:
  void* data_ = nullptr;
  std::size_t size_;
};

/// Two rings in shared memory: to the child and back.
struct Rings {
  SharedRing there;
  SharedRing back;
};

/// Owns: a child process that runs `body()`; it is killed, and waited for, at the end.
class Child {
public:
  template <class Body>
  explicit Child(Body body) : pid_(checked(fork(), "fork")) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      body();
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill();
    while (waitpid(pid_, nullptr, 0) == -1 && errno == EINTR) {
    }
  }

  void kill() const { ::kill(pid_, SIGKILL); }

private:
  pid_t pid_;
};

/// Keeps the calling thread on one of the cores that it may use, until the end of the scope.
class OnCore {
public:
  /// The index-th core; where there are fewer, none in particular.
  explicit OnCore(int index) {
    if (sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (!CPU_ISSET(core, &before_) || index-- != 0) continue;
      cpu_set_t only;
      CPU_ZERO(&only);
      CPU_SET(core, &only);
      is_set_ = sched_setaffinity(0, sizeof only, &only) == 0;
    }
  }
  OnCore(const OnCore&) = delete;
  OnCore& operator=(const OnCore&) = delete;
  ~OnCore() {
    if (is_set_) sched_setaffinity(0, sizeof before_, &before_);
  }

private:
  cpu_set_t before_{};
  bool is_set_ = false;
};

/// All of `size` bytes.
void send_all(const Descriptor& to, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = send(to.number(), data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    checked(sent, "send");
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
}

/// What is there, at least a byte; 0 at the end, also when the other side was killed.
std::size_t receive(const Descriptor& from, char* data, std::size_t size) {
  while (true) {
    const ssize_t received = read(from.number(), data, size);
    if (received >= 0) return static_cast<std::size_t>(received);
    if (errno == ECONNRESET) return 0;
    if (errno != EINTR) fail("read");
  }
}

/// The second word of the last message of a repeat.
constexpr std::uint64_t kLast = ~std::uint64_t{0};

}  // namespace

double ring_round_trip(const Effort& effort, Waiting waiting) {
  const SharedMemory memory(sizeof(Rings));
  auto& rings = *reinterpret_cast<Rings*>(memory.data());  // Zeroed pages are a ring's beginning.
  const Child echo([&] {
    const OnCore core(1);
    while (true) rings.back.push(rings.there.pop(waiting), waiting);
  });
  const OnCore core(0);
  std::vector<double> values;
  std::uint64_t count = 0;
  for (int repeat = -1; repeat < effort.repeats; ++repeat) {
    const auto start = Clock::now();
    for (int i = 0; i < effort.messages; ++i) {
      rings.there.push({.words = {++count}}, waiting);
      if (rings.back.pop(waiting).words[0] != count)
        throw std::logic_error("a ring gave another message");
    }
    if (repeat >= 0) values.push_back(seconds_since(start) * 1e6 / effort.messages);
  }
  return median(values);
}

double ring_throughput(const Effort& effort) {
  const SharedMemory memory(sizeof(Rings));
  auto& rings = *reinterpret_cast<Rings*>(memory.data());
  const Child sink([&] {
    const OnCore core(1);
    std::uint64_t sum = 0;
    while (true) {
      const Message message = rings.there.pop(Waiting::poll);
      sum += message.words[0];
      if (message.words[1] != kLast) continue;
      rings.back.push({.words = {sum}}, Waiting::poll);
      sum = 0;
    }
  });
  const OnCore core(0);
  const int messages = effort.messages * 20;
  std::vector<double> values;
  for (int repeat = -1; repeat < effort.repeats; ++repeat) {
    const auto start = Clock::now();
    for (int i = 1; i <= messages; ++i)
      rings.there.push({.words = {1, i == messages ? kLast : 0}}, Waiting::poll);
    if (rings.back.pop(Waiting::poll).words[0] != static_cast<std::uint64_t>(messages))
      throw std::logic_error("a ring lost a message");
    if (repeat >= 0) values.push_back(messages / seconds_since(start));
  }
  return median(values);
}

double socket_window_256(const Effort& effort) {
  constexpr std::size_t kWindow = 256;
  constexpr std::size_t kSize = 64;
  Ends ends = Ends::socket();
  const Child echo([&] {
    const OnCore core(1);
    ends.mine.close();
    char buffer[kWindow * kSize];
    while (const std::size_t size = receive(ends.other, buffer, sizeof buffer))
      send_all(ends.other, buffer, size);
  });
  ends.other.close();
  const OnCore core(0);
  const std::size_t total = static_cast<std::size_t>(effort.messages) * 20 * kSize;
  char buffer[kWindow * kSize] = {};
  std::vector<double> values;
  for (int repeat = -1; repeat < effort.repeats; ++repeat) {
    const auto start = Clock::now();
    std::size_t sent = 0;
    std::size_t received = 0;
    while (received < total) {
      const std::size_t room = sizeof buffer - (sent - received);
      const std::size_t more = std::min(room, total - sent) / kSize * kSize;
      if (more > 0) send_all(ends.mine, buffer, more);
      sent += more;
      const std::size_t size = receive(ends.mine, buffer, sizeof buffer);
      if (size == 0) throw std::runtime_error("the other side of the socket is gone");
      received += size;
    }
    const double requests = static_cast<double>(total) / kSize;
    if (repeat >= 0) values.push_back(requests / seconds_since(start));
  }
  return median(values);
}

CopyRate copy_large(const Effort& effort) {
  const std::vector<std::byte> source(effort.large, std::byte{1});
  const int repeats = std::min(effort.repeats, 5);
  const auto rate = [&](std::byte* to) {
    const auto start = Clock::now();
    std::memcpy(to, source.data(), source.size());
    return static_cast<double>(source.size()) / seconds_since(start);
  };
  std::vector<double> fresh;
  std::vector<double> recycled;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const SharedMemory memory(effort.large);
    fresh.push_back(rate(memory.data()));
    recycled.push_back(rate(memory.data()));
  }
  return {.recycled = median(recycled), .fresh = median(fresh)};
}

double copy_64_kib(const Effort& effort) {
  constexpr std::size_t kSize = std::size_t{64} << 10;
  constexpr std::size_t kArena = std::size_t{64} << 20;
  const std::vector<std::byte> source(kSize, std::byte{1});
  const SharedMemory arena(kArena);
  std::memset(arena.data(), 0, kArena);
  std::vector<double> values;
  for (int repeat = 0; repeat < effort.repeats; ++repeat) {
    const auto start = Clock::now();
    for (std::size_t place = 0; place < kArena; place += kSize)
      std::memcpy(arena.data() + place, source.data(), kSize);
    values.push_back(seconds_since(start) * 1e6 / (kArena / kSize));
  }
  return median(values);
}

double spawn_to_first_byte(const Effort& effort, const std::string& program) {
  std::vector<double> values;
  for (int repeat = 0; repeat < effort.starts; ++repeat) {
    Ends ends = Ends::pipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends.other.number(), STDOUT_FILENO);
    std::string name = program;
    char* arguments[] = {name.data(), nullptr};
    pid_t pid = -1;
    const auto start = Clock::now();
    const int error = posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::system_error(error, std::generic_category(), program);
    ends.other.close();
    char byte = 0;
    const bool wrote = receive(ends.mine, &byte, 1) == 1;
    values.push_back(seconds_since(start) * 1e6);
    while (waitpid(pid, nullptr, 0) == -1 && errno == EINTR) {
    }
    if (!wrote) throw std::runtime_error(program + " wrote nothing");
  }
  return median(values);
}

double kill_to_end_of_file(const Effort& effort) {
  std::vector<double> values;
  for (int repeat = 0; repeat < effort.starts; ++repeat) {
    Ends ends = Ends::socket();
    const Child child([&] {
      ends.mine.close();
      send_all(ends.other, "x", 1);
      while (true) pause();
    });
    ends.other.close();
    char byte = 0;
    if (receive(ends.mine, &byte, 1) != 1) throw std::runtime_error("a child did not begin");
    const auto start = Clock::now();
    child.kill();
    if (receive(ends.mine, &byte, 1) != 0) throw std::runtime_error("a killed child wrote");
    values.push_back(seconds_since(start) * 1e6);
  }
  return median(values);
}

}  // namespace limits
