#pragma once

// Whether a run was disturbed: how much of the machine others took meanwhile.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace limits {

/// Begins when it is made. Linux only: /proc/stat has what all processors did.
class OtherLoad {
public:
  /// The share of the machine, 0 to 1, that went neither to this process nor to children that it
  /// has waited for.
  double share() const {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
    const auto cores = static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
    return std::clamp((seconds_of_others() - before_) / passed.count() / cores, 0.0, 1.0);
  }

private:
  static double seconds_of_others() {
    double ticks = 0;
    if (std::FILE* stat = std::fopen("/proc/stat", "r")) {
      double t[8] = {};  // user, nice, system, idle, iowait, irq, softirq, steal
      if (std::fscanf(stat, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &t[0], &t[1], &t[2], &t[3],
                      &t[4], &t[5], &t[6], &t[7]) == 8)
        ticks = t[0] + t[1] + t[2] + t[5] + t[6] + t[7];
      std::fclose(stat);
    }
    double ours = 0;
    for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
      rusage usage{};
      getrusage(who, &usage);
      ours += seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
    return ticks / static_cast<double>(sysconf(_SC_CLK_TCK)) - ours;
  }

  static double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  }

  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double before_ = seconds_of_others();
};

}  // namespace limits
