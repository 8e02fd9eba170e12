// How far worker processes are from what the machine allows: `ours / limit / ratio`, with the raw
// limits measured in the same run. What needs worker processes is skipped while they are refused.

#include <ray/ray.hpp>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "process_limits/other_load.hpp"
#include "process_limits/our_figures.hpp"
#include "process_limits/raw_limits.hpp"

namespace {

using namespace limits;

/// What takes longer hangs: the alarm ends the program.
constexpr unsigned kSecondsMax = 900;
/// The share of the machine that others may take.
constexpr double kDisturbed = 0.05;

struct Arguments {
  Effort effort;
  ray::Isolation isolation = ray::Isolation::processes;
  std::string json;
  bool strict = false;

  static Arguments parse(int argc, char** argv) {
    Arguments result;
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument = argv[i];
      if (argument == "--quick") {
        result.effort = kQuick;
      } else if (argument == "--strict") {
        result.strict = true;
      } else if (argument == "--isolation=threads") {
        result.isolation = ray::Isolation::threads;
      } else if (argument == "--isolation=processes") {
        result.isolation = ray::Isolation::processes;
      } else if (argument == "--json" && i + 1 < argc) {
        result.json = argv[++i];
      } else {
        std::fprintf(stderr,
                     "wrong argument: %s\nusage: process_limits [--quick] [--strict]"
                     " [--json FILE] [--isolation=processes|threads]\n",
                     argv[i]);
        std::exit(2);
      }
    }
    return result;
  }
};

/// What is measured without the library. Times in microseconds.
struct RawLimits {
  double ring_polling = 0;
  double ring_sleeping = 0;
  double ring_per_second = 0;
  double socket_per_second = 0;
  CopyRate copy;
  double copy_64_kib = 0;
  double spawn = 0;
  double end_of_file = 0;
};

RawLimits measure_limits(const Effort& effort, const std::string& first_byte) {
  return {.ring_polling = ring_round_trip(effort, Waiting::poll),
          .ring_sleeping = ring_round_trip(effort, Waiting::sleep),
          .ring_per_second = ring_throughput(effort),
          .socket_per_second = socket_window_256(effort),
          .copy = copy_large(effort),
          .copy_64_kib = copy_64_kib(effort),
          .spawn = spawn_to_first_byte(effort, first_byte),
          .end_of_file = kill_to_end_of_file(effort)};
}

enum class Goal { at_most, at_least };

/// One target: ours beside its limit, and the value that ours is to reach.
struct Target {
  const char* name;
  const char* unit;
  std::optional<double> ours;
  std::optional<double> limit;
  Goal goal;
  double bound;

  bool met() const { return ours && (goal == Goal::at_most ? *ours <= bound : *ours >= bound); }
};

std::vector<Target> targets_of(const OurFigures& ours, const RawLimits& raw) {
  const auto in_thousands = [](std::optional<double> value) {
    return value ? std::optional(*value / 1e3) : value;
  };
  const auto in_giga = [](std::optional<double> value) {
    return value ? std::optional(*value / 1e9) : value;
  };
  const std::optional<double> task = ours.task_round_trip;
  return {
      {"T4 no-op task, window 1", "us", task, raw.ring_polling, Goal::at_most,
       4 * raw.ring_polling},
      {"T5 1,000 no-op tasks in flight", "k/s", in_thousands(ours.tasks_per_second),
       raw.socket_per_second / 1e3, Goal::at_least, 300},
      {"T7 put of much, recycled", "GB/s", in_giga(ours.put_recycled), raw.copy.recycled / 1e9,
       Goal::at_least, 0.9 * raw.copy.recycled / 1e9},
      {"T7 put of much, fresh", "GB/s", in_giga(ours.put_fresh), raw.copy.fresh / 1e9,
       Goal::at_least, 0.9 * raw.copy.fresh / 1e9},
      {"T8 get of a worker's object", "us", ours.get_in_driver, {}, Goal::at_most, 2},
      {"T8 get in a worker", "us", ours.get_in_worker, {}, Goal::at_most, 2},
      {"T9 put of 64 KiB", "us", ours.put_64_kib, raw.copy_64_kib, Goal::at_most,
       1.3 * raw.copy_64_kib},
      {"T9 put of 100 B", "us", ours.put_100_bytes, {}, Goal::at_most, 0.3},
      {"T13 start to first task done", "us", ours.first_task, raw.spawn, Goal::at_most,
       4 * raw.spawn},
      {"T14 killed worker noticed", "us", ours.death_noticed, raw.end_of_file, Goal::at_most, 5000},
      {"T16 actor call, window 1", "us", ours.actor_round_trip, task, Goal::at_most,
       task.value_or(0) + 0.5},
  };
}

struct Line {
  const char* name;
  const char* unit;
  double value;
};

std::vector<Line> lines_of(const RawLimits& raw) {
  return {{"shared-memory ring, there and back, polling", "us", raw.ring_polling},
          {"shared-memory ring, there and back, sleeping", "us", raw.ring_sleeping},
          {"shared-memory ring, one way, polling", "M/s", raw.ring_per_second / 1e6},
          {"Unix socket, 64 B and answer, window 256", "M/s", raw.socket_per_second / 1e6},
          {"memcpy into recycled shared memory", "GB/s", raw.copy.recycled / 1e9},
          {"memcpy into fresh shared memory", "GB/s", raw.copy.fresh / 1e9},
          {"memcpy of 64 KiB into an arena", "us", raw.copy_64_kib},
          {"posix_spawn to the first byte", "us", raw.spawn},
          {"kill to end of file", "us", raw.end_of_file}};
}

std::string text(std::optional<double> value) {
  char out[32] = "-";
  if (value) std::snprintf(out, sizeof out, *value >= 100 ? "%.0f" : "%.3g", *value);
  return out;
}

std::optional<double> ratio(const Target& target) {
  if (!target.ours || !target.limit) return {};
  return *target.ours / *target.limit;
}

void print(const std::vector<Line>& lines) {
  std::printf("%-46s %10s\n", "limit of this machine", "value");
  for (const Line& line : lines)
    std::printf("%-46s %10s %s\n", line.name, text(line.value).c_str(), line.unit);
  std::printf("\n");
}

/// Returns how many targets were missed.
int print(const std::vector<Target>& targets) {
  int missed = 0;
  std::printf("%-34s %10s %10s %8s   %-18s %s\n", "target", "ours", "limit", "ratio", "to be",
              "met");
  for (const Target& target : targets) {
    const std::string bound = std::string(target.goal == Goal::at_most ? "<= " : ">= ") +
                              text(target.bound) + " " + target.unit;
    std::printf("%-34s %10s %10s %8s   %-18s %s\n", target.name, text(target.ours).c_str(),
                text(target.limit).c_str(), text(ratio(target)).c_str(), bound.c_str(),
                !target.ours   ? "not measured"
                : target.met() ? "yes"
                               : "no");
    if (!target.met()) ++missed;
  }
  return missed;
}

std::string json_number(std::optional<double> value) {
  return value ? std::to_string(*value) : "null";
}

/// Names and units are ours, so nothing in them needs to be escaped.
std::string json_of(const std::vector<Line>& lines, const std::vector<Target>& targets,
                    double disturbance) {
  std::string out = "{\"other_load\":" + json_number(disturbance) + ",\n\"limits\":[";
  for (const Line& line : lines) {
    out += (&line == lines.data() ? "\n {\"name\":\"" : ",\n {\"name\":\"") +
           std::string(line.name) + "\",\"unit\":\"" + line.unit +
           "\",\"value\":" + json_number(line.value) + "}";
  }
  out += "],\n\"targets\":[";
  for (const Target& target : targets) {
    out += (&target == targets.data() ? "\n {\"name\":\"" : ",\n {\"name\":\"") +
           std::string(target.name) + "\",\"unit\":\"" + target.unit +
           "\",\"ours\":" + json_number(target.ours) + ",\"limit\":" + json_number(target.limit) +
           ",\"bound\":" + json_number(target.bound) +
           ",\"met\":" + (target.met() ? "true" : "false") + "}";
  }
  return out + "]}\n";
}

/// The program that is built beside this one.
std::string first_byte_program() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  const std::string self(path, size > 0 ? static_cast<std::size_t>(size) : 0);
  return self.substr(0, self.rfind('/') + 1) + "first_byte";
}

int run(const Arguments& arguments) {
  const OtherLoad others;
  OurFigures ours;
  std::string refused;
  try {
    ours = measure_ours(arguments.effort, arguments.isolation);
  } catch (const ray::InvalidArgumentError& error) {
    refused = error.what();
  }
  const RawLimits raw = measure_limits(arguments.effort, first_byte_program());
  const std::vector<Line> lines = lines_of(raw);
  print(lines);
  std::vector<Target> targets;
  int missed = 0;
  if (refused.empty()) {
    targets = targets_of(ours, raw);
    missed = print(targets);
  } else {
    std::printf("T4, T5, T7, T8, T9, T13, T14, T16 skipped: %s\n", refused.c_str());
  }
  const double disturbance = others.share();
  if (disturbance > kDisturbed)
    std::printf("disturbed: others took %.0f %% of the machine; ratios mean little\n",
                100 * disturbance);
  for (const std::string& failure : ours.failures) std::printf("FAILED %s\n", failure.c_str());
  if (!arguments.json.empty()) {
    std::ofstream file(arguments.json);
    file << json_of(lines, targets, disturbance);
    file.close();
    if (!file) throw std::runtime_error("cannot write " + arguments.json);
  }
  return !ours.failures.empty() || (arguments.strict && missed > 0) ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = Arguments::parse(argc, argv);
  alarm(kSecondsMax);
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "process_limits: %s\n", error.what());
    return 1;
  }
}
