// A failure as bytes: what is left of an exception on its way out of a process.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <ray/error.hpp>

#include "task/messages.hpp"

namespace ray::detail {

struct FailureParts {
  ErrorCode code = ErrorCode::error;  // `task`: an exception that is not one of ours.
  std::string type;                   // Its type's name, as people read it.
  std::string type_id;                // Its type's mangled name, by which a registered one is made.
  std::string text;
  Bytes payload;  // A registered exception's fields.
  std::vector<std::string> trail;
  std::uint64_t trail_dropped = 0;
  std::int64_t pid = 0;  // Of the process in which it was thrown; 0: of none.
  friend bool operator==(const FailureParts&, const FailureParts&) = default;
};

Bytes encode_failure(const FailureParts& parts);
/// Throws SerializationError.
FailureParts decode_failure(std::span<const std::byte> bytes);

/// The failure of a task that depended on what failed: the same with one more name.
Bytes extend_failure(std::span<const std::byte> bytes, std::string_view task_name);

}  // namespace ray::detail
