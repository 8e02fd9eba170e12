// Worker processes: this very program, started again. What it shall be as a worker it is told by
// the first record on its socket, before main().
#include "support/catch.hpp"

#include "runtime/spawner.hpp"
#include "transport/unix_socket.hpp"

#include "api/probes.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace {

using ray::detail::Child;
using ray::detail::Descriptor;
using ray::detail::Spawner;
using ray::detail::SystemFault;
using ray::detail::UnixSocket;
using Received = UnixSocket::Received;

constexpr std::uint32_t kVersion = 17;

/// Waits for the next record; "" at the end.
std::string await(UnixSocket& socket, UnixSocket::Record& record) {
  std::array<std::byte, UnixSocket::kRecordMax> buffer;
  SystemFault fault;
  while (true) {
    const Received got = socket.receive(buffer, record, fault);
    if (got == Received::record) {
      return {reinterpret_cast<const char*>(buffer.data()), record.size};
    }
    if (got != Received::nothing) return "";
    pollfd event{socket.number(), POLLIN, 0};
    if (::poll(&event, 1, 30'000) != 1) return "";
  }
}
std::string await(UnixSocket& socket) {
  UnixSocket::Record record;
  return await(socket, record);
}
void say(UnixSocket& socket, const std::string& text, int descriptor = -1) {
  SystemFault fault;
  socket.send(std::as_bytes(std::span(text)), descriptor, fault);
}

// --- as a worker ---

std::string line_of(const std::string& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return line;
  }
  return "";
}

std::string link_text(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::read_symlink(path, ignored).string();
}

/// What the driver wants to know, one fact a line.
std::string facts(std::uint32_t version) {
  std::ostringstream out;
  out << "version " << version << "\ndescriptors";
  for (int number = 0; number < 200; ++number) {
    if (::fcntl(number, F_GETFD) >= 0) out << ' ' << number;
  }
  for (int number = 0; number < 3; ++number) {
    out << '\n' << number << ' ' << link_text("/proc/self/fd/" + std::to_string(number));
  }
  int death_signal = 0;
  ::prctl(PR_GET_PDEATHSIG, &death_signal);
  char name[32] = {};
  ::prctl(PR_GET_NAME, name);
  out << "\nleads its group " << (::getpgrp() == ::getpid()) << "\ndeath signal " << death_signal
      << "\nname " << name << "\nno new privileges " << ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
      << "\noom " << line_of("/proc/self/oom_score_adj", "") << '\n'
      << line_of("/proc/self/status", "SigBlk") << '\n'
      << "ignores a broken pipe " << (::signal(SIGPIPE, SIG_DFL) == SIG_IGN) << "\nvariable "
      << (std::getenv(ray::detail::kWorkerVariable) == nullptr ? "gone" : "there") << "\nkept "
      << (std::getenv("SPAWNER_TEST") == nullptr ? "no" : std::getenv("SPAWNER_TEST"))
      << "\nexecutable " << link_text("/proc/self/exe") << '\n';
  return out.str();
}

[[noreturn]] void play(const std::string& role, UnixSocket& driver, std::uint32_t version) {
  ::alarm(60);
  if (role == "facts") say(driver, facts(version));
  if (role == "arguments") {
    std::ifstream in("/proc/self/cmdline");
    std::ostringstream text;
    text << in.rdbuf();
    say(driver, text.str());
  }
  if (role == "exit 3") ::_exit(3);
  if (role == "crash") {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::signal(SIGSEGV, SIG_DFL);  // Sanitizers have a handler.
    ::raise(SIGSEGV);
  }
  if (role == "grandchild") {
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      ::pause();
      ::_exit(0);
    }
    say(driver, std::to_string(grandchild));
    if (await(driver) == "stay") ::pause();
  }
  if (role == "print") {
    UnixSocket::Record out;
    UnixSocket::Record error;
    await(driver, out);
    await(driver, error);
    SystemFault fault;
    std::puts("into nothing");
    if (!ray::detail::redirect_output(out.descriptor, error.descriptor, fault)) ::_exit(1);
    std::puts("to out");
    std::fputs("to error\n", stderr);
    await(driver);
  }
  if (role == "stay") {
    say(driver, "here");
    await(driver);
  }
  ::_exit(0);
}

const bool kIsDriver = [] {
  const char* variable = std::getenv(ray::detail::kWorkerVariable);
  const std::string version = std::to_string(kVersion) + ":";
  if (variable == nullptr || !std::string_view(variable).starts_with(version)) return true;
  ray::detail::WorkerStart start = ray::detail::become_worker();
  if (!start.fault.empty()) ::_exit(99);
  UnixSocket driver(std::move(start.socket));
  const std::string role = await(driver);
  play(role, driver, start.version);
}();

// --- as the driver ---

struct Worker {
  UnixSocket socket;
  Child child;
};

Worker start(const std::string& role, const Spawner& spawner) {
  SystemFault fault;
  auto ends = UnixSocket::pair(fault);
  REQUIRE(ends);
  say(ends->first, role);
  auto child = spawner.spawn(kVersion, ends->second.number(), fault);
  INFO(fault.text());
  REQUIRE(child);
  return {std::move(ends->first), std::move(*child)};
}

Spawner make() {
  SystemFault fault;
  auto spawner = Spawner::make(fault);
  INFO(fault.text());
  REQUIRE(spawner);
  return std::move(*spawner);
}

std::string end_of(Child& child) {
  pollfd event{child.death_notice(), POLLIN, 0};
  REQUIRE(::poll(&event, 1, 30'000) == 1);
  return child.ended().value_or("runs");
}

std::string fact(const std::string& all, const std::string& key) {
  const std::size_t at = ("\n" + all).find("\n" + key + " ");
  if (at == std::string::npos) return "?";
  return all.substr(at + key.size() + 1, all.find('\n', at) - at - key.size() - 1);
}

bool gone(pid_t pid) {
  return probes::eventually([pid] {
    std::ifstream status("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(status, text);
    const std::size_t at = text.rfind(')');
    return at == std::string::npos || text.substr(at, 3) == ") Z";
  });
}

}  // namespace

TEST_CASE("a worker is the same program in a state of its own") {
  REQUIRE(kIsDriver);
  ::setenv("SPAWNER_TEST", "kept", 1);
  ::setenv(ray::detail::kWorkerVariable, "1:99", 1);  // Is replaced.
  // What a driver may have done: descriptors that survive exec, ignored and blocked signals.
  const Descriptor leak(::open("/", O_DIRECTORY));
  const Descriptor other_leak(::fcntl(leak.number(), F_DUPFD, 150));
  auto* const before = ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  Worker worker = start("facts", make());
  ::sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
  ::signal(SIGPIPE, before);
  ::unsetenv(ray::detail::kWorkerVariable);
  ::unsetenv("SPAWNER_TEST");
  UnixSocket::Record record;
  const std::string said = await(worker.socket, record);
  INFO(said);
  CHECK(fact(said, "version") == "17");
  CHECK(fact(said, "descriptors") == "0 1 2 3");
  for (const char* number : {"0", "1", "2"}) CHECK(fact(said, number) == "/dev/null");
  CHECK(fact(said, "leads its group") == "1");
  CHECK(fact(said, "death signal") == std::to_string(SIGKILL));
  CHECK(fact(said, "no new privileges") == "1");
  CHECK(fact(said, "oom") == std::to_string(ray::detail::kWorkerOomScore));
  CHECK(said.find("SigBlk:\t0000000000000000\n") != std::string::npos);
  CHECK(fact(said, "ignores a broken pipe") == "0");
  CHECK(fact(said, "variable") == "gone");
  CHECK(fact(said, "kept") == "kept");
  CHECK(fact(said, "executable") == link_text("/proc/self/exe"));
  CHECK(link_text("/proc/self/exe").find(fact(said, "name")) != std::string::npos);
  CHECK(end_of(worker.child) == "exited by calling exit or _exit with status 0");
}

TEST_CASE("a worker has the arguments of its driver") {
  std::ifstream in("/proc/self/cmdline");
  std::ostringstream own;
  own << in.rdbuf();
  Worker worker = start("arguments", make());
  CHECK(await(worker.socket) == own.str());
}

TEST_CASE("the end of a worker is told in words, as often as it is asked for") {
  const Spawner spawner = make();
  Worker failed = start("exit 3", spawner);
  CHECK(end_of(failed.child) == "exited with status 3");
  CHECK(failed.child.ended() == "exited with status 3");
  CHECK(await(failed.socket) == "");  // The socket says it as well.
  Worker crashed = start("crash", spawner);
  CHECK(end_of(crashed.child) == "was killed by SIGSEGV");
  Worker killed = start("stay", spawner);
  CHECK(await(killed.socket) == "here");
  CHECK_FALSE(killed.child.ended());
  killed.child.kill();
  CHECK(end_of(killed.child) == "was killed by SIGKILL");
  killed.child.kill();  // No harm.

  using ray::detail::exit_text;
  CHECK(exit_text(CLD_DUMPED, SIGABRT) == "was killed by SIGABRT, and a core dump was made");
  CHECK(exit_text(CLD_KILLED, 40) == "was killed by signal 40");
  CHECK(exit_text(CLD_EXITED, 0) == "exited by calling exit or _exit with status 0");
}

TEST_CASE("what somebody else waited for has ended, however") {
  Worker worker = start("exit 3", make());
  REQUIRE(::waitpid(worker.child.pid(), nullptr, 0) == worker.child.pid());
  CHECK(worker.child.ended()->starts_with("ended; how, is not known"));
  worker.child.kill();
}

TEST_CASE("what a worker has started ends with it, however it ends") {
  const Spawner spawner = make();
  pid_t grandchild = 0;
  pid_t worker_pid = 0;
  SECTION("by itself") {
    Worker worker = start("grandchild", spawner);
    grandchild = std::stoi(await(worker.socket));
    say(worker.socket, "end");
    CHECK(end_of(worker.child) == "exited by calling exit or _exit with status 0");
  }
  SECTION("killed") {
    Worker worker = start("grandchild", spawner);
    grandchild = std::stoi(await(worker.socket));
    worker.child.kill();
    CHECK(end_of(worker.child) == "was killed by SIGKILL");
  }
  SECTION("with its owner") {
    Worker worker = start("grandchild", spawner);
    worker_pid = worker.child.pid();
    grandchild = std::stoi(await(worker.socket));
    say(worker.socket, "stay");
  }
  CHECK(gone(grandchild));
  if (worker_pid != 0) CHECK(::kill(worker_pid, 0) != 0);
}

TEST_CASE("a worker dies with its driver") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t driver = ::fork();
  if (driver == 0) {
    SystemFault fault;
    const auto spawner = Spawner::make(fault);
    auto pair = UnixSocket::pair(fault);
    say(pair->first, "stay");
    auto child = spawner->spawn(kVersion, pair->second.number(), fault);
    const pid_t pid = await(pair->first) == "here" ? child->pid() : -1;
    if (::write(ends[1], &pid, sizeof pid) != sizeof pid) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  pid_t worker = 0;
  REQUIRE(::read(ends[0], &worker, sizeof worker) == sizeof worker);
  REQUIRE(worker > 0);
  ::kill(driver, SIGKILL);
  REQUIRE(::waitpid(driver, nullptr, 0) == driver);
  CHECK(gone(worker));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("what a worker prints is lost until it is told where to print") {
  Worker worker = start("print", make());
  int out[2];
  int error[2];
  REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(error, O_CLOEXEC) == 0);
  say(worker.socket, "out", out[1]);
  say(worker.socket, "error", error[1]);
  ::close(out[1]);
  ::close(error[1]);
  // Without waiting for its end: lines are not held back.
  char text[100] = {};
  CHECK(::read(out[0], text, sizeof text) == 7);
  CHECK(std::string(text, 7) == "to out\n");
  CHECK(::read(error[0], text, sizeof text) == 9);
  CHECK(std::string(text, 9) == "to error\n");
  say(worker.socket, "end");
  CHECK(end_of(worker.child) == "exited by calling exit or _exit with status 0");
  CHECK(::read(out[0], text, sizeof text) == 0);
  ::close(out[0]);
  ::close(error[0]);
}

TEST_CASE("an executable that was removed is started all the same") {
  const std::string copy =
      (std::filesystem::temp_directory_path() / ("spawner-" + std::to_string(::getpid()))).string();
  std::filesystem::copy_file("/proc/self/exe", copy);
  SystemFault fault;
  auto spawner = Spawner::make(fault, copy.c_str());
  std::filesystem::remove(copy);
  REQUIRE(spawner);
  std::ofstream(copy) << "another version\n";
  Worker worker = start("facts", *spawner);
  CHECK(fact(await(worker.socket), "executable") == copy + " (deleted)");
  std::filesystem::remove(copy);
  CHECK_FALSE(Spawner::make(fault, copy.c_str()));
  CHECK(fault.text() == "open the executable: No such file or directory");
}

TEST_CASE("what cannot be executed is a reason, with what posix_spawn says") {
  SystemFault fault;
  auto spawner = Spawner::make(fault, "/dev/null");
  REQUIRE(spawner);
  auto ends = UnixSocket::pair(fault);
  CHECK_FALSE(spawner->spawn(kVersion, ends->second.number(), fault));
  CHECK(fault.text() == "posix_spawn: Permission denied");
  CHECK_FALSE(spawner->spawn(kVersion, -1, fault));
  CHECK(fault.error == EBADF);
}

TEST_CASE("a variable that names no socket makes no worker, and no driver either") {
  for (const char* text : {"", "1", "1:", ":3", "x:3", "1:3x", "1:-1", "99999999999:3", "1:250"}) {
    ::setenv(ray::detail::kWorkerVariable, text, 1);
    const auto started = ray::detail::become_worker();
    CHECK(started.is_worker);
    CHECK(started.fault.find("RAY_WORKER=" + std::string(text) + " is set") == 0);
    CHECK_FALSE(started.socket);
    CHECK(std::getenv(ray::detail::kWorkerVariable) == nullptr);
  }
  CHECK_FALSE(ray::detail::become_worker().is_worker);
}

TEST_CASE("a worker whose driver is dead already ends before it does anything") {
  int status = 0;
  const pid_t orphan = ::fork();
  if (orphan == 0) {
    // As if adopted: the socket was made by this process, which is not its own parent.
    SystemFault fault;
    auto ends = UnixSocket::pair(fault);
    ::setenv(ray::detail::kWorkerVariable, ("1:" + std::to_string(ends->second.number())).c_str(),
             1);
    ray::detail::become_worker();
    ::_exit(0);
  }
  REQUIRE(::waitpid(orphan, &status, 0) == orphan);
  CHECK(WEXITSTATUS(status) == 1);
}
