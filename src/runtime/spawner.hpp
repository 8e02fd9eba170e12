// Starts worker processes: the executable that this process runs, once more, with the same
// arguments, the number of a socket in RAY_WORKER, and nothing else of what is open here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "task/descriptor.hpp"

namespace ray::detail {

inline constexpr char kWorkerVariable[] = "RAY_WORKER";  // "<version of the protocol>:<socket>"
inline constexpr int kWorkerSocket = 3;
/// The first to go where memory is short, rather than the driver; as in Ray.
inline constexpr int kWorkerOomScore = 1000;

/// A started process. Its owner's end ends it, with all that it has started in its process group.
class Child {
public:
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;

  pid_t pid() const noexcept { return pid_; }
  /// Readable when it has ended; -1 where the kernel has no such thing (before Linux 5.3).
  int death_notice() const noexcept { return notice_.number(); }
  /// "was killed by SIGSEGV"; nothing while it runs. What it left running is killed. Says the same
  /// when it is asked again.
  std::optional<std::string> ended();
  void kill() noexcept;

private:
  friend class Spawner;
  explicit Child(pid_t pid);

  pid_t pid_;
  Descriptor notice_;
  std::optional<std::string> how_;
};

class Spawner {
public:
  /// Opens the executable: it may be replaced or removed afterwards.
  static std::optional<Spawner> make(SystemFault& fault, const char* executable = "/proc/self/exe");

  /// Takes about as long as posix_spawn: the child has its new image when this returns. `socket`: a
  /// worker's end of a link; `out`, `error`: what it prints to, -1 for nothing. The caller closes
  /// them afterwards.
  ///
  /// To be called from a thread that lives as long as the runtime: the kernel ends a worker when
  /// the *thread* ends that started it (PR_SET_PDEATHSIG), not only when the process does.
  std::optional<Child> spawn(std::uint32_t version, int socket, SystemFault& fault, int out = -1,
                             int error = -1) const;

private:
  Descriptor executable_;
  std::vector<std::string> arguments_;
};

/// "was killed by SIGSEGV", "exited with status 3"; of what waitid() says in si_code and si_status.
std::string exit_text(int code, int status);

/// What the environment says that this process is.
struct WorkerStart {
  bool is_worker = false;
  std::uint32_t version = 0;
  Descriptor socket;
  std::string fault;  // Why it cannot be the worker that it should be; else empty.
};
/// To be called early, before there are threads: makes a worker of this process if it was started
/// as one. It dies with its driver, gains no privileges, goes first where memory is short, and does
/// not look like a worker to the programs that it starts itself. Ends the process if its driver is
/// dead already, since it must not go on as a driver.
WorkerStart become_worker();

/// From here on what this process prints goes there, line by line.
bool redirect_output(const Descriptor& out, const Descriptor& error, SystemFault& fault);

}  // namespace ray::detail
