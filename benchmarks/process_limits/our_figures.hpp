#pragma once

// What worker processes of this library take, measured through its public API, for the rows that
// have a raw limit. Which numbers they are to reach stands in process_limits.cpp.

#include <ray/ray.hpp>

#include <optional>
#include <string>

#include "process_limits/raw_limits.hpp"

namespace limits {

/// Microseconds, unless the name says otherwise. Empty: not measured, `failures` says why.
struct OurFigures {
  std::optional<double> task_round_trip;
  std::optional<double> actor_round_trip;
  std::optional<double> tasks_per_second;  // 1,000 in flight.
  std::optional<double> put_recycled;      // Bytes per second.
  std::optional<double> put_fresh;         // Bytes per second.
  std::optional<double> put_64_kib;
  std::optional<double> put_100_bytes;
  std::optional<double> get_in_driver;  // Of a large object that a worker made.
  std::optional<double> get_in_worker;  // Of a large object that the driver put.
  std::optional<double> first_task;     // From the start of a runtime.
  std::optional<double> death_noticed;
  std::vector<std::string> failures;
};

/// Throws ray::InvalidArgumentError when the runtime refuses that isolation.
OurFigures measure_ours(const Effort& effort, ray::Isolation isolation);

}  // namespace limits
