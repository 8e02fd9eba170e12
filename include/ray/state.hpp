// What a runtime can tell of itself, as plain structs: the same that the timeline and the status
// text (and later the web UI) are made from.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ray/ids.hpp>

namespace ray {

/// Where a task stands; Ray's states, those that exist on one node.
enum class TaskState : std::uint8_t {
  pending_args,   // An argument is not there yet.
  pending_node,   // Ready; waits for a worker or for resources.
  pending_actor,  // In an actor's mailbox.
  running,
  suspended,  // A coroutine that awaits something.
  finished,
  failed,
  cancelled,
};

/// RUNNING, FINISHED, … as Ray prints them.
const char* to_string(TaskState state) noexcept;

/// One task. Times count from the runtime's start; a negative one has not come yet.
struct TaskInfo {
  TaskId task_id;
  TaskId parent_id;  ///< The task, or the driver thread, that submitted it.
  std::string name;
  TaskState state = TaskState::pending_args;
  int attempt = 0;
  WorkerId worker_id;  ///< Which thread, or which worker process, ran it.
  ActorId actor_id;
  std::string file;  ///< Where it was submitted.
  int line = 0;
  std::chrono::nanoseconds submitted{-1};
  std::chrono::nanoseconds ready{-1};
  std::chrono::nanoseconds started{-1};
  std::chrono::nanoseconds ended{-1};
  std::vector<TaskId> args;  ///< Tasks whose results it takes (the first four).
  WorkerId submitter_id;     ///< The one that submitted it; none for a driver.
  std::string error;
  std::int64_t pid = 0;  ///< Of the worker process; 0: of none.
};

enum class ActorState : std::uint8_t { pending_creation, alive, restarting, dead };
const char* to_string(ActorState state) noexcept;

struct ActorInfo {
  ActorId actor_id;
  std::string class_name;
  std::string name;
  ActorState state = ActorState::pending_creation;
  int restarts = 0;
  std::size_t pending_calls = 0;
  std::uint64_t finished_calls = 0;
  WorkerId worker_id;    ///< The process that it has to itself; none where actors are in threads.
  std::int64_t pid = 0;  ///< Of that; 0: of none.
};

struct WorkerInfo {
  WorkerId worker_id;
  bool idle = true;
  bool spare = false;    ///< Stands in for one that waits.
  std::int64_t pid = 0;  ///< Of a worker process; 0: it is a thread, or is being started.
  TaskId task_id;        ///< What the process runs.
  std::string task_name;
  ActorId actor_id;      ///< Whose process it is.
  bool blocked = false;  ///< The process waits in get for what others make.
};

struct NodeInfo {
  NodeId node_id;
  bool alive = true;
  std::map<std::string, double> resources;
  std::map<std::string, double> available;
  // The object store, where there are worker processes; else 0.
  std::uint64_t store_bytes = 0;  ///< In memory.
  std::uint64_t store_limit = 0;
  std::uint64_t store_objects = 0;
  std::uint64_t spilled_bytes = 0;  ///< On disk.
};

struct State {
  std::vector<TaskInfo> tasks;  ///< Newest last. Empty unless RuntimeOptions::task_events.
  std::vector<ActorInfo> actors;
  std::vector<WorkerInfo> workers;
  std::vector<NodeInfo> nodes;
  std::uint64_t tasks_recorded = 0;
  std::uint64_t tasks_dropped = 0;  ///< Not in `tasks`: overwritten, or no room.
  bool task_events = false;
};

}  // namespace ray
