// A failure as bytes: what is left of an exception on its way out of a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ray/error.hpp>

#include "task/messages.hpp"

namespace ray::detail {

inline constexpr std::uint8_t kFailureVersion = 1;
/// Of each text; longer ones are cut, and say so. A mangled name is left out instead.
inline constexpr std::size_t kFailureTextMax = std::size_t{64} << 10;
/// Larger payloads are left out, and `type_id` with them: the exception cannot be made again.
inline constexpr std::size_t kFailurePayloadMax = std::size_t{1} << 20;

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

/// Never refuses: what passes a limit is cut or counted.
Bytes encode_failure(const FailureParts& parts);
/// Throws SerializationError.
FailureParts decode_failure(std::span<const std::byte> bytes);

/// The failure of a task that depended on what failed: the same with one more name. Bytes that
/// cannot be read become a failure that says so.
Bytes extend_failure(std::span<const std::byte> bytes, std::string_view task_name);

}  // namespace ray::detail
