#include "runtime/memory_monitor.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

namespace ray::detail {

namespace {

/// A worker that was killed gives its memory back within this, or it had little.
constexpr auto kFallsWithin = std::chrono::seconds(2);
/// Control groups of version 1 without a limit have a very large one.
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;

std::optional<std::string> text_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  const auto read = std::from_chars(text.data() + begin, text.data() + text.size(), number);
  if (read.ec != std::errc()) return std::nullopt;  // "max" among others.
  return number;
}

std::optional<std::uint64_t> number_of(const std::string& path) {
  const auto text = text_of(path);
  return text ? number_in(*text) : std::nullopt;
}

/// The number behind a word at the beginning of a line.
std::optional<std::uint64_t> number_behind(std::string_view text, std::string_view word) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with(word)) return number_in(line.substr(word.size()));
    at = end + 1;
  }
  return std::nullopt;
}

std::optional<MemoryUse> use_of_machine(const std::string& root) {
  const auto text = text_of(root + "/proc/meminfo");
  if (!text) return std::nullopt;
  const auto total = number_behind(*text, "MemTotal:");
  const auto available = number_behind(*text, "MemAvailable:");
  if (!total || !available || *available > *total) return std::nullopt;
  return MemoryUse{.used = (*total - *available) << 10, .limit = *total << 10};
}

struct GroupFiles {
  const char* limit;
  const char* used;
  const char* cache;  // What can be taken back at once: a word of memory.stat.
};
constexpr GroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes",
                               "total_inactive_file "};
constexpr GroupFiles kVersion2{"memory.max", "memory.current", "inactive_file "};

std::optional<MemoryUse> use_of_group(const std::string& folder, const GroupFiles& files) {
  const auto limit = number_of(folder + "/" + files.limit);
  const auto used = number_of(folder + "/" + files.used);
  if (!limit || !used || *limit == 0 || *limit >= kNoLimit) return std::nullopt;
  const auto stat = text_of(folder + "/memory.stat");
  const std::uint64_t cache = stat ? number_behind(*stat, files.cache).value_or(0) : 0;
  return MemoryUse{.used = *used - std::min(*used, cache), .limit = *limit};
}

/// Of the machine, and of each control group of this process that has a limit.
std::vector<MemoryUse> memory_uses(const std::string& root) {
  std::vector<MemoryUse> uses;
  if (const auto machine = use_of_machine(root)) uses.push_back(*machine);
  const auto look = [&](const std::string& mount, std::string path, const GroupFiles& files) {
    // Each group above limits it too. In a container the path may begin above what is mounted.
    for (;;) {
      if (const auto use = use_of_group(mount + path, files)) uses.push_back(*use);
      if (path.empty()) return;
      path.erase(path.rfind('/'));
    }
  };
  std::istringstream groups(text_of(root + "/proc/self/cgroup").value_or(""));
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path.empty() || path.front() != '/') continue;
    if (path == "/") path.clear();
    if (controllers.empty()) look(root + "/sys/fs/cgroup", path, kVersion2);
    if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      look(root + "/sys/fs/cgroup/memory", path, kVersion1);
    }
  }
  return uses;
}

}  // namespace

std::optional<MemoryUse> read_memory_use(const std::string& root) {
  const std::vector<MemoryUse> uses = memory_uses(root);
  const auto nearest = std::ranges::max_element(uses, {}, &MemoryUse::share);
  return nearest == uses.end() ? std::nullopt : std::optional(*nearest);
}

std::uint64_t read_memory_limit(const std::string& root) {
  const std::vector<MemoryUse> uses = memory_uses(root);
  const auto least = std::ranges::min_element(uses, {}, &MemoryUse::limit);
  return least == uses.end() ? 0 : least->limit;
}

bool MemoryRule::is_short(const MemoryUse& use, Time now) {
  if (use.share() <= limit_share_) {
    killed_at_.reset();
    return false;
  }
  return !killed_at_ || use.used < used_at_kill_ || now - *killed_at_ >= kFallsWithin;
}

void MemoryRule::killed(const MemoryUse& use, Time now) {
  used_at_kill_ = use.used;
  killed_at_ = now;
}

MemoryMonitor::MemoryMonitor(double limit_share, std::function<bool()> is_busy,
                             std::function<bool()> relieve)
    : is_busy_(std::move(is_busy)),
      relieve_(std::move(relieve)),
      rule_(limit_share),
      reader_([] { return read_memory_use(); }),
      thread_([this] { run(); }) {}

MemoryMonitor::~MemoryMonitor() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void MemoryMonitor::wake() {
  if (busy_.load(std::memory_order_relaxed)) return;
  {
    const std::lock_guard lock(mutex_);
    busy_.store(true, std::memory_order_relaxed);
  }
  changed_.notify_all();
}

void MemoryMonitor::set_reader(Reader reader) {
  const std::lock_guard lock(mutex_);
  reader_ = std::move(reader);
}

void MemoryMonitor::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return end_ || busy_; });
    if (changed_.wait_for(lock, kEvery, [this] { return end_; })) return;
    busy_ = false;  // Whoever begins something from here on says so again.
    const Reader reader = reader_;
    lock.unlock();
    const bool busy = is_busy_();
    if (busy) {
      const auto use = reader();
      const auto now = std::chrono::steady_clock::now();
      if (use && rule_.is_short(*use, now) && relieve_()) rule_.killed(*use, now);
    }
    lock.lock();
    if (busy) busy_ = true;
  }
}

}  // namespace ray::detail
