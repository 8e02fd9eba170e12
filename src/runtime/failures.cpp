#include "runtime/failures.hpp"

#include <unistd.h>

#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <typeindex>
#include <vector>

#include <ray/exceptions.hpp>
#include <ray/task/values.hpp>

#include "task/text.hpp"

namespace ray::detail {

namespace {

std::mutex types_mutex;

/// Requires: types_mutex.
std::map<std::string_view, ExceptionType>& types() {
  static std::map<std::string_view, ExceptionType> all;
  return all;
}

template <class E>
ExceptionType from_text() {
  return {.type = &typeid(E),
          .write =
              [](OutputArchive& out, const std::exception& exception) {
                out(std::string(exception.what()));
                return true;
              },
          .make =
              [](InputArchive& in) {
                std::string text;
                in(text);
                return std::make_exception_ptr(E(text));
              }};
}
template <class E>
ExceptionType without_text() {
  return {.type = &typeid(E),
          .write = [](OutputArchive&, const std::exception&) { return true; },
          .make = [](InputArchive&) { return std::make_exception_ptr(E()); }};
}

/// With an error of the system or of errno; others cannot be found in another process.
ExceptionType system_error_type() {
  return {.type = &typeid(std::system_error),
          .write =
              [](OutputArchive& out, const std::exception& exception) {
                const auto& error = dynamic_cast<const std::system_error&>(exception);
                const bool of_system = error.code().category() == std::system_category();
                if (!of_system && error.code().category() != std::generic_category()) return false;
                std::string text = error.what();
                const std::string end = ": " + error.code().message();
                if (text.ends_with(end)) text.resize(text.size() - end.size());
                out(of_system, error.code().value(), text);
                return true;
              },
          .make =
              [](InputArchive& in) {
                bool of_system = false;
                int value = 0;
                std::string text;
                in(of_system, value, text);
                const std::error_code code(
                    value, of_system ? std::system_category() : std::generic_category());
                return std::make_exception_ptr(std::system_error(code, text));
              }};
}

/// The standard library's that one can make.
const std::vector<ExceptionType>& standard_types() {
  static const std::vector<ExceptionType> all = {
      from_text<std::runtime_error>(),
      from_text<std::range_error>(),
      from_text<std::overflow_error>(),
      from_text<std::underflow_error>(),
      from_text<std::logic_error>(),
      from_text<std::domain_error>(),
      from_text<std::invalid_argument>(),
      from_text<std::length_error>(),
      from_text<std::out_of_range>(),
      without_text<std::bad_alloc>(),
      without_text<std::exception>(),
      without_text<std::bad_exception>(),
      without_text<std::bad_cast>(),
      system_error_type(),
      {.type = &typeid(TaskError),
       .write = [](OutputArchive&, const std::exception&) { return false; },  // See parts_of().
       .make =
           [](InputArchive& in) {
             std::string text;
             std::string type;
             std::vector<std::string> trail;
             in(text, type, trail);
             return std::make_exception_ptr(TaskError(text, type, trail, nullptr));
           }}};
  return all;
}

const ExceptionType* find_type(std::string_view mangled) {
  {
    const std::lock_guard lock(types_mutex);
    const auto found = types().find(mangled);
    if (found != types().end()) return &found->second;
  }
  for (const ExceptionType& type : standard_types()) {
    if (mangled == type.type->name()) return &type;
  }
  return nullptr;
}

template <class E>
std::exception_ptr make_error(const std::string& text) {
  return std::make_exception_ptr(E(text));
}

/// One of ours, by its code.
std::exception_ptr own_error(ErrorCode code, const std::string& text) {
  switch (code) {
    case ErrorCode::error:
    case ErrorCode::task:
      break;
    case ErrorCode::task_cancelled:
      return make_error<TaskCancelledError>(text);
    case ErrorCode::get_timeout:
      return make_error<GetTimeoutError>(text);
    case ErrorCode::worker_crashed:
      return make_error<WorkerCrashedError>(text);
    case ErrorCode::node_died:
      return make_error<NodeDiedError>(text);
    case ErrorCode::actor_died:
      return make_error<ActorDiedError>(text);
    case ErrorCode::actor_unavailable:
      return make_error<ActorUnavailableError>(text);
    case ErrorCode::object_lost:
      return make_error<ObjectLostError>(text);
    case ErrorCode::owner_died:
      return make_error<OwnerDiedError>(text);
    case ErrorCode::object_store_full:
      return make_error<ObjectStoreFullError>(text);
    case ErrorCode::out_of_memory:
      return make_error<OutOfMemoryError>(text);
    case ErrorCode::out_of_disk:
      return make_error<OutOfDiskError>(text);
    case ErrorCode::serialization:
      return make_error<SerializationError>(text);
    case ErrorCode::unknown_function:
      return make_error<UnknownFunctionError>(text);
    case ErrorCode::unschedulable:
      return make_error<UnschedulableError>(text);
    case ErrorCode::deadlock:
      return make_error<DeadlockError>(text);
    case ErrorCode::pending_calls_limit:
      return make_error<PendingCallsLimitExceededError>(text);
    case ErrorCode::invalid_argument:
      return make_error<InvalidArgumentError>(text);
    case ErrorCode::connection:
      return make_error<ConnectionError>(text);
    case ErrorCode::authentication:
      return make_error<AuthenticationError>(text);
  }
  return make_error<Error>(text);
}

}  // namespace

std::string killed_words(int max_restarts, bool no_restart) {
  const std::string killed = " was killed by ray::kill";
  if (!no_restart && max_restarts != 0) {
    return killed + " and had used up its restarts; raise max_restarts (" +
           std::to_string(max_restarts) + ")";
  }
  return killed + "; make a new one, or let this one start again: set ActorOptions::max_restarts" +
         (max_restarts == 0 ? ", which is 0," : "") + " and kill it with {.no_restart = false}";
}

void enter_exception_type(const ExceptionType& type) {
  const std::lock_guard lock(types_mutex);
  types().try_emplace(type.type->name(), type);
}

FailureParts parts_of(const Failure& failure) {
  FailureParts parts;
  parts.code = ErrorCode::task;
  parts.pid = ::getpid();
  parts.trail = failure.trail;
  parts.trail_dropped = failure.trail_dropped;
  try {
    std::rethrow_exception(failure.exception);
  } catch (const TaskError& error) {  // It came from elsewhere already.
    OutputArchive out;
    out(std::string(error.what()), error.type_name(), error.trail());
    parts.type_id = typeid(TaskError).name();
    parts.payload = out.bytes();
  } catch (const Error& error) {
    parts.code = error.code();
    parts.text = error.what();
    if (const ExceptionType* type = find_type(typeid(error).name())) {
      parts.code = ErrorCode::task;
      parts.type_id = type->type->name();
      OutputArchive out;
      type->write(out, error);
      parts.payload = out.bytes();
    }
  } catch (const std::exception& error) {
    const Described described = describe_parts(failure.exception);
    parts.type = described.type;
    parts.text = described.text;
    if (const ExceptionType* type = find_type(typeid(error).name())) {
      try {
        OutputArchive out;
        if (type->write(out, error)) {
          parts.payload = out.bytes();
          parts.type_id = type->type->name();
        }
      } catch (const SerializationError&) {  // Then it comes back as a TaskError.
      }
    }
  } catch (...) {
    parts.type = describe_parts(failure.exception).type;
  }
  return parts;
}

WireValue failed_value(const Failure& failure) {
  return failed_value(encode_failure(parts_of(failure)));
}
WireValue failed_value(const std::exception_ptr& error, std::string_view task) {
  return failed_value(*make_failure(error, task));
}

FailurePtr failure_from(FailureParts parts) {
  auto failure = std::make_shared<Failure>();
  for (std::string& name : parts.trail) name = printable(name);
  failure->trail = parts.trail;
  failure->trail_dropped = static_cast<std::size_t>(parts.trail_dropped);
  if (parts.code != ErrorCode::task) {
    failure->exception = own_error(parts.code, parts.text);
    return failure;
  }
  if (const ExceptionType* type = parts.type_id.empty() ? nullptr : find_type(parts.type_id)) {
    try {
      InputArchive in(parts.payload);
      failure->exception = type->make(in);
      return failure;
    } catch (const SerializationError&) {  // Of another build, perhaps: what it said remains.
    }
  }
  std::string text = parts.trail.empty() ? "failed" : "task '" + parts.trail[0] + "' failed";
  if (parts.pid != 0) text += " (in process " + std::to_string(parts.pid) + ")";
  text += ": " + (parts.text.empty() ? parts.type : parts.type + ": " + parts.text);
  failure->exception = std::make_exception_ptr(
      TaskError(text, std::move(parts.type), std::move(parts.trail), nullptr));
  return failure;
}

}  // namespace ray::detail
