#include "fuzz/targets.hpp"
#include "support/allocations.hpp"

#include <algorithm>
#include <optional>

#include <ray/error.hpp>

#include "task/failure_codec.hpp"

/// As for a message; and any bytes can be extended to a failure.
void fuzz::failure(Bytes bytes) {
  using namespace ray::detail;
  std::optional<FailureParts> parts;
  const support::Allocations allocations;
  try {
    parts = decode_failure(bytes);
  } catch (const ray::SerializationError&) {
  }
  require(allocations.bytes() <= allocation_limit(bytes.size()), "decode allocates too much");
  if (parts) {
    require(std::ranges::equal(bytes, encode_failure(*parts)), "it is written differently");
  } else if (bytes.size() % 8 != 0) {
    return;  // Refusing once more takes most of the time, and some of it is enough.
  }
  const FailureParts extended = decode_failure(extend_failure(bytes, "next"));
  require(!parts || extended.text == parts->text, "an extended failure has another text");
  require(extended.trail.size() == kTrailMax || extended.trail.back() == "next",
          "an extended failure lacks the name");
}
