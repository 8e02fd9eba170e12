// Looks every now and then how much memory is left, and has a worker killed before the kernel kills
// one of its own choice.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace ray::detail {

/// Of the machine, or of the control group that is nearest to its limit.
struct MemoryUse {
  std::uint64_t used = 0;  // Without what the kernel can take back at once.
  std::uint64_t limit = 0;

  double share() const {
    return limit == 0 ? 0 : static_cast<double>(used) / static_cast<double>(limit);
  }
};

/// Reads /proc/meminfo and the control groups of this process, of either version, and says which is
/// nearest to its limit. `root`: where /proc and /sys are. Nothing if none of it can be read.
std::optional<MemoryUse> read_memory_use(const std::string& root = "");

/// Bytes that this process may have with all others of its machine and its control groups, which
/// are a container's too. 0 if nothing can be read.
std::uint64_t read_memory_limit(const std::string& root = "");

/// When a worker is to go: one at a time, until memory has fallen.
class MemoryRule {
public:
  using Time = std::chrono::steady_clock::time_point;
  explicit MemoryRule(double limit_share) : limit_share_(limit_share) {}
  bool is_short(const MemoryUse& use, Time now);
  void killed(const MemoryUse& use, Time now);

private:
  double limit_share_;
  std::uint64_t used_at_kill_ = 0;
  std::optional<Time> killed_at_;
};

/// Owns a thread that looks while there is something to look after.
class MemoryMonitor {
public:
  using Reader = std::function<std::optional<MemoryUse>()>;
  static constexpr auto kEvery = std::chrono::milliseconds(250);

  /// `is_busy`: whether workers run something; `relieve`: one of them goes, if one can. Both are
  /// called by the thread. Throws std::system_error if the system gives none.
  MemoryMonitor(double limit_share, std::function<bool()> is_busy, std::function<bool()> relieve);
  ~MemoryMonitor();
  MemoryMonitor(const MemoryMonitor&) = delete;
  MemoryMonitor& operator=(const MemoryMonitor&) = delete;

  /// Workers have something to run from here on.
  void wake();
  void set_reader(Reader reader);

private:
  void run();

  const std::function<bool()> is_busy_;
  const std::function<bool()> relieve_;
  MemoryRule rule_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Reader reader_;     // Guarded by mutex_.
  bool end_ = false;  // Guarded by mutex_.
  std::atomic<bool> busy_{false};
  std::thread thread_;
};

}  // namespace ray::detail
