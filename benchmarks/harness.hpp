#pragma once

// What every benchmark program shares: its two arguments, the clock, the comparison with the
// serial answer, the resident memory of the process, and the one line of JSON on stdout.
//
// A program does one repetition to warm up and `--reps` timed ones; it exits with 1, and prints
// no line, when an answer differs from the serial one.

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

/// Worker threads of every pool, beside the main thread.
inline constexpr int kWorkers = 2;

/// What the implementations of one workload have in common.
struct Workload {
  std::string_view name;
  std::string_view unit;  // of one value: "ns", "us", "ms", "bytes"
  std::size_t n = 0;      // size unless --n says otherwise
};

/// Resident and allocated bytes at one moment. `resident` is the second field of
/// /proc/self/statm times the page size: it sees every allocator. `allocated` is what glibc's
/// malloc has handed out, by mallinfo2(); it does not see private slabs over mmap.
struct Footprint {
  double resident = 0;
  double allocated = 0;

  static Footprint now() {
    Footprint footprint;
    if (std::FILE* statm = std::fopen("/proc/self/statm", "r")) {
      unsigned long size = 0;
      unsigned long pages = 0;
      if (std::fscanf(statm, "%lu %lu", &size, &pages) == 2)
        footprint.resident = static_cast<double>(pages) * static_cast<double>(getpagesize());
      std::fclose(statm);
    }
    const struct mallinfo2 heap = mallinfo2();
    footprint.allocated = static_cast<double>(heap.uordblks) + static_cast<double>(heap.hblkhd);
    return footprint;
  }
};

/// One repetition of `memory`: the program calls begin() when its workers are blocked, and end()
/// when all its tasks are pending.
class MemoryMeter {
public:
  void begin() { begin_ = Footprint::now(); }
  void end() { end_ = Footprint::now(); }

  double resident() const { return end_.resident - begin_.resident; }
  double allocated() const { return end_.allocated - begin_.allocated; }

private:
  Footprint begin_;
  Footprint end_;
};

/// Owns: arguments and results of one program. Threads: the main thread only.
class Program {
public:
  Program(int argc, char** argv, const Workload& workload, std::string_view implementation,
          std::size_t n = 0)
      : workload_(workload), implementation_(implementation), n_(n != 0 ? n : workload.n) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view key = argv[i];
      if (i + 1 == argc) usage(key);
      const char* const value = argv[++i];
      if (key == "--reps") {
        reps_ = std::max(1, std::atoi(value));
      } else if (key == "--n") {
        n_ = std::strtoull(value, nullptr, 10);
      } else if (key == "--mode") {
        mode_ = value;
      } else {
        usage(key);
      }
    }
    if (n_ == 0) usage("--n");
  }

  std::size_t n() const { return n_; }

  /// The variant of the workload, where it has several.
  std::string_view mode(std::string_view otherwise) {
    if (mode_.empty()) mode_ = otherwise;
    return mode_;
  }

  /// Replaces the workload's unit, for variants that are counted differently.
  void set_unit(std::string_view unit) { workload_.unit = unit; }

  /// Times `repetition()`, which returns its answer; a value is the time divided by `tasks`.
  template <class Repetition>
  int run(std::uint64_t expected, double tasks, Repetition repetition) {
    for (int rep = -1; rep < reps_; ++rep) {
      const Clock::time_point start = Clock::now();
      const std::uint64_t answer = repetition();
      const double nanoseconds = since(start);
      if (!accept(answer, expected)) return 1;
      if (rep >= 0) values_.push_back(nanoseconds / tasks / scale());
    }
    return print();
  }

  /// Times each of n() calls of `round_trip(i)` by itself, with `pause` of silence before each.
  /// A value is the median of one repetition; p50 and p99 are over all repetitions.
  template <class RoundTrip>
  int run_latency(std::uint64_t expected, std::chrono::microseconds pause, RoundTrip round_trip) {
    std::vector<double> all;
    std::vector<double> samples(n_);
    for (int rep = -1; rep < reps_; ++rep) {
      std::uint64_t answer = 0;
      for (std::size_t i = 0; i < n_; ++i) {
        if (pause.count() > 0) stay_silent(pause);
        const Clock::time_point start = Clock::now();
        answer += static_cast<std::uint64_t>(round_trip(static_cast<int>(i)));
        samples[i] = since(start) / scale();
      }
      if (!accept(answer, expected)) return 1;
      if (rep < 0) continue;
      all.insert(all.end(), samples.begin(), samples.end());
      values_.push_back(quantile(samples, 0.5));
    }
    p50_ = quantile(all, 0.5);
    p99_ = quantile(all, 0.99);
    return print();
  }

  /// Measures the growth of the process while n() tasks are pending. One repetition whatever
  /// --reps says: a second one would live in the pages which the first gave back.
  template <class Repetition>
  int run_memory(std::uint64_t expected, Repetition repetition) {
    MemoryMeter meter;
    const std::uint64_t answer = repetition(meter);
    if (!accept(answer, expected)) return 1;
    const double tasks = static_cast<double>(n_);
    values_.push_back(meter.resident() / tasks);
    allocated_per_task_ = meter.allocated() / tasks;
    return print();
  }

private:
  [[noreturn]] void usage(std::string_view wrong) const {
    std::fprintf(stderr,
                 "wrong argument: %s\nusage: bench_%s_%s [--reps N] [--n SIZE]"
                 " [--mode NAME]\n",
                 std::string(wrong).c_str(), text(workload_.name).c_str(),
                 text(implementation_).c_str());
    std::exit(2);
  }

  static std::string text(std::string_view view) { return std::string(view); }

  static double since(Clock::time_point start) {
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  }

  static void stay_silent(std::chrono::microseconds pause) {
    const Clock::time_point until = Clock::now() + pause;
    while (Clock::now() < until) {
    }
  }

  static double quantile(std::vector<double>& samples, double q) {
    const double place = q * static_cast<double>(samples.size() - 1);
    const auto nth = samples.begin() + static_cast<std::ptrdiff_t>(place + 0.5);
    std::nth_element(samples.begin(), nth, samples.end());
    return *nth;
  }

  double scale() const {  // nanoseconds in one unit
    if (workload_.unit == "us") return 1e3;
    if (workload_.unit == "ms") return 1e6;
    return 1;
  }

  bool accept(std::uint64_t answer, std::uint64_t expected) {
    answer_ = answer;
    if (answer == expected) return true;
    std::fprintf(stderr, "%s/%s: answer %" PRIu64 ", serial says %" PRIu64 "\n",
                 text(workload_.name).c_str(), text(implementation_).c_str(), answer, expected);
    return false;
  }

  int print() {
    std::printf("{\"workload\":\"%s\",\"implementation\":\"%s\",\"unit\":\"%s\",",
                text(workload_.name).c_str(), text(implementation_).c_str(),
                text(workload_.unit).c_str());
    std::printf("\"params\":{\"n\":%zu,\"workers\":%d,\"mode\":\"%s\"},\"values\":[", n_, kWorkers,
                mode_.c_str());
    for (std::size_t i = 0; i < values_.size(); ++i)
      std::printf("%s%.6g", i == 0 ? "" : ",", values_[i]);
    std::vector<double> sorted = values_;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t half = sorted.size() / 2;
    const double median =
        sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    std::printf("],\"median\":%.6g,\"min\":%.6g,\"max\":%.6g", median, sorted.front(),
                sorted.back());
    if (p99_ > 0) std::printf(",\"p50\":%.6g,\"p99\":%.6g", p50_, p99_);
    if (workload_.unit == "bytes")
      std::printf(",\"bytes_per_task\":%.6g,\"allocated_per_task\":%.6g", median,
                  allocated_per_task_);
    std::printf(",\"checksum\":\"%" PRIu64 "\"}\n", answer_);
    return 0;
  }

  Workload workload_;
  std::string_view implementation_;
  std::size_t n_;
  int reps_ = 5;
  std::string mode_;
  std::vector<double> values_;
  double p50_ = 0;
  double p99_ = 0;
  double allocated_per_task_ = 0;
  std::uint64_t answer_ = 0;
};

}  // namespace bench
