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

std::string words_of(const ActorSpec& spec) {
  std::string words = "actor " + printable(spec.class_name);
  if (!spec.name.empty()) words += " \"" + printable(spec.name) + "\"";
  return words;
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

std::string Node::State::name_of(const TaskSpec& spec) const {
  if (!spec.name.empty() || limits.name_of == nullptr) return spec.name;
  return std::string(limits.name_of(spec.function));
}

std::string Node::State::task_words(const TaskEntry& entry) const {
  return "task '" + printable(name_of(entry)) + "'";
}

std::string Node::State::actor_words(const ActorEntry& actor) { return words_of(actor.spec); }

std::string Node::State::described(const Bytes& failure) {
  try {
    const FailureParts parts = decode_failure(failure);
    if (parts.type.empty() || parts.text.empty()) return parts.type + parts.text;
    return parts.type + ": " + parts.text;
  } catch (const SerializationError&) {
    return "(its failure cannot be read)";
  }
}

Bytes Node::State::failed_need(const TaskEntry& entry, const Bytes& why) const {
  if (!entry.spec->creates) return extend_failure(why, name_of(entry));
  return failure(ErrorCode::actor_died,
                 words_of(*entry.spec->creates) +
                     " could not start: an argument of its constructor failed: " + described(why),
                 name_of(entry));
}

}  // namespace ray::detail
