// What the tests of faults look through: a ledger that processes share, who runs and what is open,
// and what the node counts.
//
// A worker process runs its TEST_CASE up to the first Runtime that has processes. So a test makes
// that first, and a worker shares nothing of what the test makes afterwards.
#pragma once

#include "support/catch.hpp"

#include <ray/ray.hpp>

#include "api/probes.hpp"
#include "runtime/host.hpp"
#include "runtime/parts.hpp"
#include "runtime/worker_process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

extern char** environ;  // NOLINT: POSIX declares it nowhere.

namespace faults {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using probes::eventually;
using probes::kDeadline;

inline ray::RuntimeOptions processes(double cpus, std::uint64_t store = std::uint64_t{256} << 20) {
  return {.num_cpus = cpus, .isolation = ray::Isolation::processes, .object_store_bytes = store};
}

/// A folder of the test's own that goes with it. A worker has none.
class Folder {
public:
  explicit Folder(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    if (ray::detail::is_worker_process()) return;
    std::string name = parent / "ray_fault_XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~Folder() {
    if (path_.empty()) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

private:
  std::string path_;
};

/// Adds a line to a file, whole, whoever else does so.
inline void note(const std::string& file, const std::string& line) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const std::string text = line + "\n";
  if (descriptor < 0 || ::write(descriptor, text.data(), text.size()) < 0) std::abort();
  ::close(descriptor);
}

/// Lines that any process adds and the test reads.
class Ledger {
public:
  Ledger() : file_(folder_.path() + "/ledger") {}
  const std::string& file() const { return file_; }
  std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    std::ifstream in(file_);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  /// The line of that number, once it is there; empty if it does not come.
  std::string await(std::size_t number = 0) const {
    if (!eventually([&] { return lines().size() > number; })) return {};
    return lines()[number];
  }
  /// A line that is a process's number.
  pid_t await_pid(std::size_t number = 0) const {
    const std::string line = await(number);
    return line.empty() ? 0 : static_cast<pid_t>(std::stol(line));
  }

private:
  Folder folder_;
  std::string file_;
};

/// For a worker that shall be killed: it does not go on by itself.
inline void wait_to_be_killed() {
  eventually([] { return false; });
  throw std::runtime_error("nobody killed this process");
}

/// This test once more, as another driver, which is told so by the environment; 0 if it cannot be.
inline pid_t start_again(const std::string& variable, const std::string& value) {
  std::ifstream file("/proc/self/cmdline");
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  std::vector<std::string> variables{variable + "=" + value};
  for (char** each = environ; *each != nullptr; ++each) variables.push_back(*each);
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
  };
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, pointers(words).data(),
                                  pointers(variables).data());
  return error == 0 ? pid : 0;
}

inline int same(int x) { return x; }

inline std::string pid_text() { return std::to_string(::getpid()); }

struct ProcessStat {
  char state = 0;  // 0: there is no such process.
  pid_t parent = 0;
};

inline ProcessStat stat_of(const std::string& pid) {
  ProcessStat stat;
  std::ifstream file("/proc/" + pid + "/stat");
  std::stringstream text;
  text << file.rdbuf();
  const std::size_t behind = text.str().rfind(") ");
  if (behind == std::string::npos) return stat;
  std::istringstream rest(text.str().substr(behind + 2));
  rest >> stat.state >> stat.parent;
  return stat;
}

/// The processes that this one has started, and theirs; zombies too.
inline std::vector<pid_t> descendants(pid_t of = ::getpid()) {
  std::vector<std::pair<pid_t, pid_t>> parents;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const ProcessStat stat = stat_of(name);
    if (stat.state != 0) parents.emplace_back(static_cast<pid_t>(std::stol(name)), stat.parent);
  }
  std::vector<pid_t> found{of};
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const auto& [pid, parent] : parents) {
      if (parent == found[i]) found.push_back(pid);
    }
  }
  found.erase(found.begin());
  return found;
}

/// Not one that has ended and waits for its parent to see it.
inline bool is_alive(pid_t pid) {
  const char state = stat_of(std::to_string(pid)).state;
  return state != 0 && state != 'Z' && state != 'X';
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++count;
  }
  // Without the one that reads the folder, and those that threads leave to the next.
  return count - 1 - static_cast<std::size_t>(ray::detail::Parker::bells());
}

/// Mappings of shared memory without a name.
inline std::size_t shared_mappings() {
  std::size_t count = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:") != std::string::npos) ++count;
  }
  return count;
}

inline std::uint64_t resident_bytes() {
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

inline ray::detail::Host& host() {
  auto& channel = ray::detail::Engine::current().parts().client->channel();
  return dynamic_cast<ray::detail::Host&>(channel);
}

inline ray::detail::Node::Counts counts() { return host().counts(); }

/// Whether the node comes to know of no task, object and reference any more, and nothing is stored.
inline bool comes_to_nothing() {
  const bool empty = eventually([] {
    const auto now = counts();
    return now.tasks == 0 && now.objects == 0 && now.actors == 0 && now.references == 0 &&
           now.stored_bytes == 0 && now.spilled_bytes == 0;
  });
  const auto now = counts();
  UNSCOPED_INFO("left: tasks " << now.tasks << ", objects " << now.objects << ", actors "
                               << now.actors << ", references " << now.references << ", stored "
                               << now.stored_bytes << ", spilled " << now.spilled_bytes);
  return empty;
}

/// What a runtime must not leave: measured before it, compared after it (G-24).
class Baseline {
public:
  Baseline() : descriptors_(open_descriptors()), mappings_(shared_mappings()) {}
  /// Within a second: no process, descriptor and shared memory more than there were.
  bool is_back() const {
    const bool back = eventually(
        [&] {
          return descendants().empty() && open_descriptors() <= descriptors_ &&
                 shared_mappings() <= mappings_;
        },
        1s);
    UNSCOPED_INFO("left: processes "
                  << descendants().size() << ", descriptors " << open_descriptors() << " (before "
                  << descriptors_ << "), mappings " << shared_mappings() << " (before " << mappings_
                  << ")");
    return back;
  }

private:
  std::size_t descriptors_;
  std::size_t mappings_;
};

/// What `call` throws as an E says; what else happened, if it did.
template <class E, class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another type: ") + error.what();
  } catch (...) {
    return "no std::exception";
  }
  return "no error";
}

/// The value below which this share of them lies.
inline double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<std::size_t>(share * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace faults
