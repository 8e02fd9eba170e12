// Everything that can go wrong, as exceptions for `get` and as `Result<T>` for `try_get`.
// Inside the library a failure is a value (detail::Failure) that travels along the task graph.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ray {

/// What kind of failure an `Error` is: one code per exception class below.
enum class ErrorCode {
  error,
  task,
  task_cancelled,
  get_timeout,
  worker_crashed,
  node_died,
  actor_died,
  actor_unavailable,
  object_lost,
  owner_died,
  object_store_full,
  out_of_memory,
  out_of_disk,
  serialization,
  unknown_function,
  unschedulable,
  deadlock,
  pending_calls_limit,
  invalid_argument,
  connection,
  authentication,
};

/// The root of what this library throws. The text says what failed, where, and what to do.
class Error : public std::runtime_error {
public:
  explicit Error(const std::string& what, ErrorCode code = ErrorCode::error)
      : std::runtime_error(what), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

private:
  ErrorCode code_;
};

/// A task threw something that cannot come back as itself: its type's name, its text, the names
/// of the tasks it passed through (first the one that threw), and, in one process, the original.
class TaskError : public Error {
public:
  TaskError(const std::string& what, std::string type_name, std::vector<std::string> trail,
            std::exception_ptr cause)
      : Error(what, ErrorCode::task),
        type_name_(std::move(type_name)),
        trail_(std::move(trail)),
        cause_(std::move(cause)) {}
  const std::string& type_name() const noexcept { return type_name_; }
  const std::vector<std::string>& trail() const noexcept { return trail_; }
  std::exception_ptr cause() const noexcept { return cause_; }

private:
  std::string type_name_;
  std::vector<std::string> trail_;
  std::exception_ptr cause_;
};

namespace detail {
template <ErrorCode Code, class Base = Error>
class CodedError : public Base {
public:
  explicit CodedError(const std::string& what) : Base(what, Code) {}

protected:
  CodedError(const std::string& what, ErrorCode code) : Base(what, code) {}
};
}  // namespace detail

class TaskCancelledError : public detail::CodedError<ErrorCode::task_cancelled> {
  using CodedError::CodedError;
};
class GetTimeoutError : public detail::CodedError<ErrorCode::get_timeout> {
  using CodedError::CodedError;
};
class WorkerCrashedError : public detail::CodedError<ErrorCode::worker_crashed> {
  using CodedError::CodedError;
};
class NodeDiedError : public detail::CodedError<ErrorCode::node_died> {
  using CodedError::CodedError;
};
class ActorDiedError : public detail::CodedError<ErrorCode::actor_died> {
  using CodedError::CodedError;
};
class ActorUnavailableError : public detail::CodedError<ErrorCode::actor_unavailable> {
  using CodedError::CodedError;
};
class ObjectLostError : public detail::CodedError<ErrorCode::object_lost> {
  using CodedError::CodedError;
};
class OwnerDiedError : public detail::CodedError<ErrorCode::owner_died, ObjectLostError> {
  using CodedError::CodedError;
};
class ObjectStoreFullError : public detail::CodedError<ErrorCode::object_store_full> {
  using CodedError::CodedError;
};
class OutOfMemoryError : public detail::CodedError<ErrorCode::out_of_memory> {
  using CodedError::CodedError;
};
class OutOfDiskError : public detail::CodedError<ErrorCode::out_of_disk> {
  using CodedError::CodedError;
};
class SerializationError : public detail::CodedError<ErrorCode::serialization> {
  using CodedError::CodedError;
};
class UnknownFunctionError : public detail::CodedError<ErrorCode::unknown_function> {
  using CodedError::CodedError;
};
class UnschedulableError : public detail::CodedError<ErrorCode::unschedulable> {
  using CodedError::CodedError;
};
class DeadlockError : public detail::CodedError<ErrorCode::deadlock> {
  using CodedError::CodedError;
};
class PendingCallsLimitExceededError : public detail::CodedError<ErrorCode::pending_calls_limit> {
  using CodedError::CodedError;
};
class InvalidArgumentError : public detail::CodedError<ErrorCode::invalid_argument> {
  using CodedError::CodedError;
};
class ConnectionError : public detail::CodedError<ErrorCode::connection> {
  using CodedError::CodedError;
};
class AuthenticationError : public detail::CodedError<ErrorCode::authentication> {
  using CodedError::CodedError;
};

namespace detail {

/// How many task names a failure's trail keeps; the rest are counted.
inline constexpr std::size_t kTrailMax = 16;

/// Why an object failed. Immutable and shared by all objects that failed with it.
struct Failure {
  std::exception_ptr exception;
  std::vector<std::string> trail;  // First the task that threw; then those that depended on it.
  std::size_t trail_dropped = 0;
};
using FailurePtr = std::shared_ptr<const Failure>;

FailurePtr make_failure(std::exception_ptr exception, std::string_view task_name);
/// The same failure as seen by `task_name`, which depended on what failed.
FailurePtr extend_failure(const FailurePtr& cause, std::string_view task_name);
/// The failure as an `Error`: itself if it is one, else a TaskError that holds it.
std::shared_ptr<const Error> to_error(const Failure& failure);
struct Described {
  std::string type;  // Its name.
  std::string text;  // What it says, cut at 64 KiB; empty where it says nothing.
};
Described describe_parts(const std::exception_ptr& exception);
/// The text of any exception, with its type where it has no text.
std::string describe(const std::exception_ptr& exception);

}  // namespace detail

/// A value or the error in its place; what `try_get` returns. `T` may be a reference.
/// Lifetime: `error()` lives as long as the Result.
template <class T>
class [[nodiscard]] Result {
  using Stored = std::conditional_t<
      std::is_void_v<T>, bool,
      std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

public:
  template <class U>
  static Result from_value(U&& value) {
    Result result;
    if constexpr (std::is_reference_v<T>) {
      result.value_ = &value;
    } else {
      result.value_.emplace(std::forward<U>(value));
    }
    return result;
  }
  static Result from_failure(detail::FailurePtr failure) {
    Result result;
    result.error_ = detail::to_error(*failure);
    result.failure_ = std::move(failure);
    return result;
  }

  bool has_value() const noexcept { return failure_ == nullptr; }
  explicit operator bool() const noexcept { return has_value(); }

  /// The value; throws what `get` would have thrown when there is none.
  decltype(auto) value() const& {
    if (!has_value()) std::rethrow_exception(failure_->exception);
    if constexpr (!std::is_void_v<T>) return access();
  }
  T value() && {
    if (!has_value()) std::rethrow_exception(failure_->exception);
    if constexpr (std::is_reference_v<T>) {
      return *value_.value();
    } else if constexpr (!std::is_void_v<T>) {
      return std::move(*value_);
    }
  }
  /// As value().
  decltype(auto) operator*() const& requires(!std::is_void_v<T>) { return value(); }
  auto* operator->() const requires(!std::is_void_v<T>) { return &value(); }

  /// Requires: !has_value().
  const Error& error() const { return *error_; }
  /// What the task threw, in its own type; null when there is a value.
  std::exception_ptr exception() const { return failure_ ? failure_->exception : nullptr; }

private:
  Result() = default;
  const auto& access() const {
    if constexpr (std::is_reference_v<T>) {
      return **value_;
    } else {
      return *value_;
    }
  }

  std::optional<Stored> value_;
  detail::FailurePtr failure_;
  std::shared_ptr<const Error> error_;
};

}  // namespace ray
