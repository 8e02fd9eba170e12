#pragma once

// What the machine allows, measured with system calls and without the library.

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "process_limits/shared_ring.hpp"

namespace limits {

struct Effort {
  int repeats = 15;       // A figure is the median of so many.
  int messages = 20'000;  // In one repeat, where it counts messages.
  int starts = 50;        // Processes started or killed.
  std::size_t large = std::size_t{1} << 30;
};

/// To see that everything runs; not for figures.
inline constexpr Effort kQuick{
    .repeats = 3, .messages = 2'000, .starts = 5, .large = std::size_t{64} << 20};

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return values.empty() ? 0 : *middle;
}

/// A message to another process and back, in microseconds.
double ring_round_trip(const Effort& effort, Waiting waiting);

/// Messages per second to another process that polls.
double ring_throughput(const Effort& effort);

/// Requests of 64 bytes per second, each answered, over a Unix socket with 256 on their way.
double socket_window_256(const Effort& effort);

/// Bytes per second of memcpy into shared memory: pages that were written before, and new ones.
struct CopyRate {
  double recycled = 0;
  double fresh = 0;
};
CopyRate copy_large(const Effort& effort);

/// Microseconds to copy 64 KiB to the next place of an arena of 64 MiB.
double copy_64_kib(const Effort& effort);

/// Microseconds from posix_spawn to the first byte that the program writes.
double spawn_to_first_byte(const Effort& effort, const std::string& program);

/// Microseconds from kill to the end of file on the killed process's socket.
double kill_to_end_of_file(const Effort& effort);

}  // namespace limits
