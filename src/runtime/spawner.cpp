#include "runtime/spawner.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "transport/unix_socket.hpp"

namespace ray::detail {

namespace {

constexpr int kWorkerExecutable = 4;  // Open in the child until become_worker().
constexpr int kOutOfTheWay = 10;      // Where descriptors are safe from those numbers.

#if defined(SYS_pidfd_open)
constexpr long kPidfdOpen = SYS_pidfd_open;
#else
constexpr long kPidfdOpen = 434;
#endif

Descriptor duplicate_high(int descriptor) {
  return Descriptor(::fcntl(descriptor, F_DUPFD_CLOEXEC, kOutOfTheWay));
}

/// The words of this process's command line, as the kernel keeps them.
bool read_command_line(std::vector<std::string>& words, SystemFault& fault) {
  const Descriptor file(::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t got = file ? 1 : -1;
  while (got > 0) {
    got = ::read(file.number(), buffer.data(), buffer.size());
    if (got > 0) text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  if (got < 0) {
    fault = SystemFault::of("read /proc/self/cmdline");
    return false;
  }
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  if (words.empty()) words.emplace_back("ray-worker");
  return true;
}

std::vector<std::string> worker_environment(std::uint32_t version) {
  const std::string name = std::string(kWorkerVariable) + "=";
  std::vector<std::string> variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with(name)) variables.emplace_back(*variable);
  }
  variables.push_back(name + std::to_string(version) + ":" + std::to_string(kWorkerSocket));
  return variables;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// What posix_spawn does between fork and exec.
class SpawnActions {
public:
  SpawnActions() {
    note(::posix_spawn_file_actions_init(&actions_));
    note(::posix_spawnattr_init(&attributes_));
  }
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  void set_descriptors(int socket, int executable, int out, int error) {
    note(::posix_spawn_file_actions_adddup2(&actions_, socket, kWorkerSocket));
    note(::posix_spawn_file_actions_adddup2(&actions_, executable, kWorkerExecutable));
    note(::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0));
    set_output(1, out);
    set_output(2, error);
#if __GLIBC_PREREQ(2, 34)
    // What the program has open without O_CLOEXEC is nothing to its workers.
    note(::posix_spawn_file_actions_addclosefrom_np(&actions_, kWorkerExecutable + 1));
#endif
  }
  /// A process group of its own, so that Ctrl-C reaches the driver alone; signals as in a new
  /// shell.
  void set_signals() {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    note(::posix_spawnattr_setsigmask(&attributes_, &none));
    note(::posix_spawnattr_setsigdefault(&attributes_, &all));
    note(::posix_spawnattr_setpgroup(&attributes_, 0));
    note(::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));
  }
  /// 0, or the first error of all.
  int error() const noexcept { return error_; }
  int run(pid_t& pid, const char* path, char** arguments, char** environment) {
    return ::posix_spawn(&pid, path, &actions_, &attributes_, arguments, environment);
  }

private:
  void set_output(int number, int descriptor) {
    note(descriptor < 0
             ? ::posix_spawn_file_actions_addopen(&actions_, number, "/dev/null", O_WRONLY, 0)
             : ::posix_spawn_file_actions_adddup2(&actions_, descriptor, number));
  }
  void note(int error) noexcept {
    if (error_ == 0) error_ = error;
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  int error_ = 0;
};

constexpr std::pair<int, const char*> kSignalNames[] = {
    {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},
    {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
    {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"}, {SIGXCPU, "SIGXCPU"},
    {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"}};

std::string signal_text(int number) {
  for (const auto& [signal, name] : kSignalNames) {
    if (signal == number) return name;
  }
  return "signal " + std::to_string(number);
}

}  // namespace

std::string exit_text(int code, int status) {
  switch (code) {
    case CLD_KILLED:
      return "was killed by " + signal_text(status);
    case CLD_DUMPED:
      return "was killed by " + signal_text(status) + ", and a core dump was made";
    case CLD_EXITED:
      if (status == 0) return "exited by calling exit or _exit with status 0";
      return "exited with status " + std::to_string(status);
    default:
      return "ended in a way unknown to the library";
  }
}

// --- a started process ---

Child::Child(pid_t pid) : pid_(pid), notice_(static_cast<int>(::syscall(kPidfdOpen, pid, 0))) {}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      notice_(std::move(other.notice_)),
      how_(std::move(other.how_)) {}

Child::~Child() {
  if (pid_ == 0 || ended()) return;
  kill();
  // What is killed ends, unless it is stuck in the kernel; then so are we.
  while (::waitid(P_PID, static_cast<id_t>(pid_), nullptr, WEXITED) != 0 && errno == EINTR) {
  }
}

std::optional<std::string> Child::ended() {
  if (how_) return how_;
  siginfo_t end{};
  const auto id = static_cast<id_t>(pid_);
  // It is left unburied at first, so that its number, which is that of its group, is not used anew.
  if (::waitid(P_PID, id, &end, WEXITED | WNOHANG | WNOWAIT) != 0) {
    if (errno == EINTR) return std::nullopt;
    how_ = "ended; how, is not known, since SIGCHLD is ignored or the program waited for it itself";
    return how_;
  }
  if (end.si_pid != pid_) return std::nullopt;
  ::kill(-pid_, SIGKILL);
  while (::waitid(P_PID, id, &end, WEXITED) != 0 && errno == EINTR) {
  }
  how_ = exit_text(end.si_code, end.si_status);
  return how_;
}

void Child::kill() noexcept {
  siginfo_t end{};
  const auto id = static_cast<id_t>(pid_);
  if (how_ || ::waitid(P_PID, id, &end, WEXITED | WNOHANG | WNOWAIT) != 0) return;
  // Not buried, so the number is still its own. The process may have left its group.
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
}

// --- starting one ---

std::optional<Spawner> Spawner::make(SystemFault& fault, const char* executable) {
  Spawner spawner;
  const Descriptor opened(::open(executable, O_PATH | O_CLOEXEC));
  if (!opened) {
    fault = SystemFault::of("open the executable");
    return std::nullopt;
  }
  spawner.executable_ = duplicate_high(opened.number());
  if (!spawner.executable_) {
    fault = SystemFault::of("fcntl(F_DUPFD_CLOEXEC)");
    return std::nullopt;
  }
  if (!read_command_line(spawner.arguments_, fault)) return std::nullopt;
  return spawner;
}

std::optional<Child> Spawner::spawn(std::uint32_t version, int socket, SystemFault& fault, int out,
                                    int error_output) const {
  const Descriptor high = duplicate_high(socket);
  const Descriptor high_out = duplicate_high(out);
  const Descriptor high_error = duplicate_high(error_output);
  if (!high || (out >= 0 && !high_out) || (error_output >= 0 && !high_error)) {
    fault = SystemFault::of("fcntl(F_DUPFD_CLOEXEC)");
    return std::nullopt;
  }
  SpawnActions actions;
  actions.set_descriptors(high.number(), executable_.number(), high_out.number(),
                          high_error.number());
  actions.set_signals();
  std::vector<std::string> arguments = arguments_;
  std::vector<std::string> environment = worker_environment(version);
  const std::string path = "/proc/self/fd/" + std::to_string(kWorkerExecutable);
  pid_t pid = 0;
  int error = actions.error();
  if (error == 0) {
    error = actions.run(pid, path.c_str(), pointers_to(arguments).data(),
                        pointers_to(environment).data());
  }
  if (error != 0) {
    fault = {"posix_spawn", error};
    return std::nullopt;
  }
  return Child(pid);
}

// --- in the child ---

namespace {

/// "<version>:<socket>", both as this version of the library writes them.
bool parse_worker(std::string_view text, std::uint32_t& version, int& socket) {
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, version);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') return false;
  const auto second = std::from_chars(first.ptr + 1, end, socket);
  return second.ec == std::errc() && second.ptr == end && socket >= 0;
}

void raise_oom_score() {
  const Descriptor file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  const std::string score = std::to_string(kWorkerOomScore);
  if (file) static_cast<void>(!::write(file.number(), score.data(), score.size()));
}

}  // namespace

WorkerStart become_worker() {
  WorkerStart start;
  const char* variable = std::getenv(kWorkerVariable);
  if (variable == nullptr) return start;
  start.is_worker = true;
  int socket = -1;
  const bool right = parse_worker(variable, start.version, socket) && is_record_socket(socket);
  const std::string text = variable;
  ::unsetenv(kWorkerVariable);
  if (!right) {
    start.fault =
        std::string(kWorkerVariable) + "=" + text +
        " is set, but names no socket of a driver; unset it, or start workers by ray::init";
    return start;
  }
  ::fcntl(socket, F_SETFD, FD_CLOEXEC);
  start.socket = Descriptor(socket);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  SystemFault fault;
  const auto maker = socket_maker(socket, fault);
  // A driver that died before the line above has left us to another parent.
  if (!maker || maker->pid != ::getppid()) ::_exit(1);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_NAME, program_invocation_short_name);  // The kernel took the path's end, a number.
  raise_oom_score();
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // Before anything is printed; a pipe would get blocks.
  ::close(kWorkerExecutable);
  return start;
}

bool redirect_output(const Descriptor& out, const Descriptor& error, SystemFault& fault) {
  std::fflush(nullptr);  // To where it was printed.
  if (::dup2(out.number(), STDOUT_FILENO) < 0 || ::dup2(error.number(), STDERR_FILENO) < 0) {
    fault = SystemFault::of("dup2");
    return false;
  }
  return true;
}

}  // namespace ray::detail
