// What a caller can say about a runtime, a task, an actor, a wait or a cancel. Aggregates with
// every field defaulted, for designated initializers; the order of fields is part of the API.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <ray/ids.hpp>

namespace ray {

/// How long something may take: made of any duration, also a fractional one (0.5s). What is too
/// long for nanoseconds, over 100 years, means for ever; what is no number is negative, so refused.
class Timeout : public std::chrono::nanoseconds {
public:
  template <class Rep, class Period>
  constexpr Timeout(std::chrono::duration<Rep, Period> given)  // NOLINT: implicit
      : std::chrono::nanoseconds(in_range(given)) {}

private:
  template <class Rep, class Period>
  static constexpr std::chrono::nanoseconds in_range(std::chrono::duration<Rep, Period> given) {
    constexpr std::chrono::duration<double> century = std::chrono::hours(24 * 365 * 100);
    const std::chrono::duration<double> seconds = given;
    if (seconds > century) return max();
    if (!(seconds > -century)) return min();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(given);
  }
};

/// Where tasks and actors run. `threads`: of this process. `processes`: the same executable started
/// again with the same arguments; a worker runs main up to the place where the driver makes its
/// runtime, and goes no further. Arguments and results are then serialized, globals are each
/// process's own, and a crash ends a worker (README.md, "Worker processes").
enum class Isolation { threads, processes };

/// How a runtime is made. Zero or empty means "choose for me". What has its default is taken from
/// the environment, if it says something (RAY_NUM_CPUS and so on). A value that cannot be is an
/// InvalidArgumentError.
struct RuntimeOptions {
  /// Worker slots, 1 to 1e6: how many tasks of one CPU run at once; 0: the hardware's threads.
  double num_cpus = 0;
  double num_gpus = 0;                           ///< Counted, not enforced.
  std::map<std::string, double> resources = {};  ///< Custom resources, plain counters.
  /// `processes` is refused inside a worker process: a Runtime made there has threads.
  Isolation isolation = Isolation::threads;
  int num_nodes = 1;         ///< Others are refused in this version.
  std::string address = {};  ///< Others are refused in this version.
  /// Memory for objects in worker processes; 0: 30 % of the machine's, or of what its
  /// control group (its container) may have. Threads: no effect.
  std::uint64_t object_store_bytes = 0;
  /// Where objects go that have no room there, in a file without a name; empty: TMPDIR, /var/tmp or
  /// /tmp. Threads: no effect.
  std::string spill_directory = {};
  std::string name = {};                  ///< For people.
  bool task_events = false;               ///< Record every task for state() and timeline().
  std::size_t max_task_events = 100'000;  ///< The newest that many are kept; others are counted.
  /// Cap on worker threads, or on worker processes, those of actors included; 0: num_cpus + 1024.
  int max_threads = 0;
  std::chrono::microseconds spin_us{30};  ///< How long an idle thread polls before it sleeps.
  bool log_to_driver = true;  ///< What worker processes print is printed here, with their names.
  /// Above this share of the machine's memory (or the control group's), 0 to 1, a worker process is
  /// killed and its task tried again, or fails with OutOfMemoryError; 0: the default; 1: never.
  double memory_limit_share = 0.95;
};

/// Any node (the default).
struct Default {};
/// As many nodes as possible.
struct Spread {};
/// That node; `soft` allows another when it is gone.
struct NodeAffinity {
  NodeId node = {};
  bool soft = false;
};
/// Resources reserved together; comes with the cluster.
struct PlacementGroup {
  std::vector<std::map<std::string, double>> bundles = {};
  int bundle_index = -1;
};
using SchedulingStrategy = std::variant<Default, Spread, NodeAffinity, PlacementGroup>;

/// How a task runs. A task that waits in get lends its CPUs to others, but holds its GPUs, memory
/// and custom resources until it ends, as in Ray. So a parent that holds a resource and gets a
/// child that needs it hangs (a deadlock that is not detected) unless there is enough for both.
struct TaskOptions {
  double num_cpus = 1;  ///< To 1e6, fractions to 0.0001; 0 takes no slot.
  double num_gpus = 0;
  double memory = 0;  ///< Bytes.
  std::map<std::string, double> resources = {};
  /// How often it runs again: after the death of its worker process, and after a throw if
  /// retry_exceptions. -1: for ever, but for three dead workers. 0: it begins once at most.
  int max_retries = 3;
  bool retry_exceptions = false;  ///< Whether a throw counts as a reason to retry.
  std::string name = {};          ///< The first 256 bytes count.
  SchedulingStrategy scheduling_strategy = {};
  std::optional<Timeout> timeout = {};  ///< From submission; then cancelled.
  int generator_backpressure = 64;      ///< Items an unread stream holds before its task pauses.
};

enum class Lifetime { owner, detached };

struct ActorOptions {
  double num_cpus = 0;  ///< Held for the actor's life.
  double num_gpus = 0;
  double memory = 0;
  std::map<std::string, double> resources = {};
  std::string name = {};       ///< At most 256 bytes, as that of a concurrency group.
  bool get_if_exists = false;  ///< With `name`: the running actor of that name, if there is one.
  Lifetime lifetime = Lifetime::owner;
  int max_restarts = 0;      ///< After its death; -1: for ever.
  int max_task_retries = 0;  ///< Of calls that had begun; -1: for ever, 0: each begins once.
  int max_concurrency = 0;   ///< Calls at once; 0: one, while coroutine methods interleave.
  std::map<std::string, int> concurrency_groups = {};
  int max_pending_calls = -1;  ///< Made and not ended, those that run included; -1: no limit.
  /// Where the class has checkpoint() and max_restarts is not 0: after how many calls that can
  /// change the object its state is saved; 0: never.
  int checkpoint_every = 1;
};

/// For `remote<&C::method>.options({…})(handle, …)`.
struct MethodOptions {
  std::string concurrency_group = {};
  std::string name = {};
  std::optional<Timeout> timeout = {};
};

struct WaitOptions {
  std::size_t num_returns = 1;
  std::optional<Timeout> timeout = {};
};

struct CancelOptions {
  bool force = false;  ///< Kills the worker process, but no actor's; in threads the same as false.
  bool recursive = true;  ///< Also what the task itself has started.
};

struct KillOptions {
  bool no_restart = true;  ///< false needs ActorOptions::max_restarts, or there is no restart.
};

}  // namespace ray
