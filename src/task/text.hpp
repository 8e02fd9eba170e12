// Text that comes from a user and is shown to a person or put into a file: names of tasks, actors
// and resources. It may hold anything.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ray::detail {

/// The longest name, in bytes, of a task, an actor, a concurrency group or a resource.
inline constexpr std::size_t kNameMax = 256;

/// How many bytes the UTF-8 character at the start of `text` has; 0 where there is none.
std::size_t character_bytes(std::string_view text) noexcept;

/// As much of `text` as fits into `bytes_max`, in whole characters.
std::string_view cut(std::string_view text, std::size_t bytes_max = kNameMax) noexcept;

/// One line of valid UTF-8 without control characters, those escaped as in C++ source, cut at
/// `bytes_max` with an ellipsis behind.
std::string printable(std::string_view text, std::size_t bytes_max = kNameMax);

/// A JSON string. What is not UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

}  // namespace ray::detail
