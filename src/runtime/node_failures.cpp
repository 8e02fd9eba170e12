// What a node says when something has no value.
#include <ray/ids.hpp>

#include "runtime/node_state.hpp"
#include "task/failure_codec.hpp"
#include "task/text.hpp"

namespace ray::detail {

namespace {

const char* class_of_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::task_cancelled:
      return "ray::TaskCancelledError";
    case ErrorCode::worker_crashed:
      return "ray::WorkerCrashedError";
    case ErrorCode::actor_died:
      return "ray::ActorDiedError";
    case ErrorCode::object_lost:
      return "ray::ObjectLostError";
    case ErrorCode::object_store_full:
      return "ray::ObjectStoreFullError";
    case ErrorCode::out_of_memory:
      return "ray::OutOfMemoryError";
    case ErrorCode::out_of_disk:
      return "ray::OutOfDiskError";
    case ErrorCode::unschedulable:
      return "ray::UnschedulableError";
    case ErrorCode::invalid_argument:
      return "ray::InvalidArgumentError";
    default:
      return "ray::Error";
  }
}

}  // namespace

Bytes Node::State::failure(ErrorCode code, const std::string& text, std::string_view task) {
  FailureParts parts;
  parts.code = code;
  parts.type = class_of_code(code);
  parts.text = text;
  if (!task.empty()) parts.trail.emplace_back(task);
  return encode_failure(parts);
}

std::string Node::State::task_words(const TaskEntry& entry) {
  return "task '" + printable(entry.spec.name) + "'";
}

}  // namespace ray::detail
