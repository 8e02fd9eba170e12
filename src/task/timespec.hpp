// A time as the system's calls take it.
#pragma once

#include <time.h>

#include <chrono>

namespace ray::detail {

/// Requires: it is not negative.
inline timespec to_timespec(std::chrono::nanoseconds time) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  timespec converted{};
  converted.tv_sec = static_cast<time_t>(seconds.count());
  converted.tv_nsec = static_cast<long>((time - seconds).count());
  return converted;
}

}  // namespace ray::detail
