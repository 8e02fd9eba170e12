// A node in a simulated world: virtual time, processes that are a few numbers, links that take a
// while, disks and processes that fail. One seed decides everything, so what went wrong can be
// seen again. The code of the node is the one that runs in production. The world knows what each
// value must be and looks for:
//   O1  somebody waits and nothing is left to happen; a cancelled task that is not released;
//   O2  a wrong value, or an error that none of the faults explains;
//   O3  a result that is told twice with two values, a call or task that ran too often;
//   O4, O5  something that is left when all is dropped: references, objects, bytes, resources;
//   O6  calls of one caller that come to an actor in another order;
//   O8  an actor that starts again from another state than the newest that it has saved;
//   O9  the same seed twice, and another course of events (by the digest).
// A library of its own, ray::sim: programs that do not ask for it carry nothing of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace ray::sim {

/// What simulated tasks are like. Chances are times in 1,000.
struct ProgramLimits {
  std::uint64_t depth = 3;      // Of tasks that submit tasks.
  std::uint64_t steps = 4;      // Of one task.
  std::uint64_t throwing = 20;  // Tasks that throw.
  std::uint64_t large = 100;    // Results that go into the store.
  std::uint64_t gpu = 0;
  std::uint64_t coroutines = 250;  // Tasks that wait with co_await.
  std::uint64_t several = 100;     // Tasks of several results.
  std::uint64_t named = 300;       // Actors with names.
  std::uint64_t concurrent = 300;  // Actors that run several calls at a time.
  bool actors = true;
  bool streams = true;
  bool rebuilds = false;  // Whatever is lost can be made again.
};

struct SimNode {
  std::int64_t num_cpus = 2;
  std::int64_t num_gpus = 1;
  std::uint32_t prestart = 0;       // Workers kept ready.
  std::uint32_t workers_max = 400;  // Those of actors included.
  std::uint64_t store_bytes = std::uint64_t{1} << 30;
  std::uint64_t segment_bytes = std::uint64_t{1} << 20;
  std::chrono::nanoseconds pipeline_time{500'000};  // Of tasks sent ahead to one worker.
  std::chrono::nanoseconds full_grace{500'000'000};
};

struct SimOptions {
  std::uint64_t seed = 0;
  ProgramLimits program;
  std::uint64_t steps = 12;  // Of the driver.
  SimNode node;
  // Faults, each time in 1,000.
  std::uint64_t crash = 0;       // A worker dies before a step.
  std::uint64_t slow_start = 0;  // A worker needs long.
  std::uint64_t no_start = 0;    // A process cannot be started.
  std::uint64_t disk_full = 0;   // An object cannot be spilled.
  std::uint64_t disk_lost = 0;   // A spilled object cannot be read.
  std::uint64_t no_segment = 0;
  std::uint64_t cancel = 0;  // The driver cancels a task after a step.
  std::uint64_t kill_actor = 0;
  std::uint64_t drop = 0;          // The driver drops a result unread.
  std::uint64_t memory = 0;        // Memory is short after a step of the driver.
  std::uint64_t echo = 0;          // A worker says Done once more, later.
  std::uint64_t cancel_storm = 0;  // So many more cancels, at moments of their own.
  bool shut_down = false;          // The driver goes in the middle.
  bool trace = false;              // Print each event.
};

/// What a seed says about the kind of world.
SimOptions options_of(std::uint64_t seed);

struct SimReport {
  std::string wrong;  // Empty: nothing.
  std::uint64_t digest = 0;
  std::uint64_t events = 0;
  std::map<std::string, std::uint64_t> counts;  // What came about how often.
};

SimReport simulate(const SimOptions& options);

}  // namespace ray::sim
