#include "fuzz/targets.hpp"
#include "support/allocations.hpp"

#include <algorithm>
#include <optional>

#include <ray/error.hpp>

#include "task/message_codec.hpp"

/// A message is refused or is the only one that is written so.
void fuzz::message(Bytes bytes) {
  std::optional<ray::detail::Message> message;
  const support::Allocations allocations;
  try {
    message = ray::detail::decode(bytes);
  } catch (const ray::SerializationError&) {
  }
  require(allocations.bytes() <= allocation_limit(bytes.size()), "decode allocates too much");
  if (!message) return;
  ray::detail::Bytes again;
  ray::detail::encode(*message, again);
  require(std::ranges::equal(bytes, again), "the message is written differently");
}
