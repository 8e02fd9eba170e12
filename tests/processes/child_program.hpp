// This test program once more, as the driver of a runtime with worker processes, so that a test can
// look at what it prints and how it ends. The child runs the same TEST_CASE, which asks
// child_role() first; so do the child's own workers.
#pragma once

#include "support/catch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "api/probes.hpp"

extern char** environ;  // NOLINT: POSIX declares it nowhere.

namespace child {

inline constexpr char kRole[] = "RAY_TEST_ROLE";

/// What this process shall be: empty in the test itself.
inline std::string role() {
  const char* value = std::getenv(kRole);
  return value == nullptr ? "" : value;
}

/// The end of a child's role: without Catch's report.
[[noreturn]] inline void leave(int status = 0) { std::exit(status); }

/// Memory that grows as somebody writes into it.
class Capture {
public:
  Capture() : file_(::memfd_create("output", MFD_CLOEXEC)) { REQUIRE(file_ >= 0); }
  ~Capture() { ::close(file_); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  int number() const { return file_; }
  std::string text() const {
    std::string all;
    char buffer[65536];
    for (;;) {
      const ssize_t got = ::pread(file_, buffer, sizeof buffer, static_cast<off_t>(all.size()));
      if (got <= 0) return all;
      all.append(buffer, static_cast<std::size_t>(got));
    }
  }

private:
  int file_;
};

inline std::vector<std::string> words_of(const std::string& file) {
  std::ifstream in(file);
  std::vector<std::string> words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  return words;
}

/// A started child; killed with its owner.
class Program {
public:
  /// `output`: where its stdout goes, if not into out(). `more`: variables, "NAME=value".
  explicit Program(const std::string& role, int output = -1, std::vector<std::string> more = {},
                   const std::string& executable = "/proc/self/exe") {
    std::vector<std::string> words = words_of("/proc/self/cmdline");
    std::vector<std::string> variables = std::move(more);
    variables.push_back(std::string(kRole) + "=" + role);
    for (char** variable = environ; *variable != nullptr; ++variable) {
      variables.emplace_back(*variable);
    }
    const auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> result;
      for (std::string& text : texts) result.push_back(text.data());
      result.push_back(nullptr);
      return result;
    };
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, output >= 0 ? output : out_.number(), 1);
    ::posix_spawn_file_actions_adddup2(&actions, error_.number(), 2);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    REQUIRE(::posix_spawn(&pid_, executable.c_str(), &actions, &attributes, pointers(words).data(),
                          pointers(variables).data()) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  ~Program() {
    if (ended_) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  /// As waitpid() says it.
  int wait() {
    if (!std::exchange(ended_, true)) ::waitpid(pid_, &status_, 0);
    return status_;
  }
  std::string out() const { return out_.text(); }
  std::string error() const { return error_.text(); }
  /// Whether it prints that before the deadline.
  bool prints(const std::string& text) const {
    return probes::eventually([&] { return (out() + error()).find(text) != std::string::npos; });
  }

private:
  Capture out_;
  Capture error_;
  pid_t pid_ = 0;
  int status_ = 0;
  bool ended_ = false;
};

inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

/// Running children of a process.
inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream in(entry.path() / "stat");
    std::stringstream text;
    text << in.rdbuf();
    const std::string stat = text.str();
    const std::size_t end = stat.rfind(") ");
    if (end == std::string::npos || stat[end + 2] == 'Z') continue;
    if (std::atoi(stat.c_str() + end + 4) == parent) found.push_back(std::atoi(stat.c_str()));
  }
  return found;
}

inline bool runs(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(in, stat);
  const std::size_t end = stat.rfind(") ");
  return end != std::string::npos && stat[end + 2] != 'Z';
}

inline bool all_end(const std::vector<pid_t>& pids) {
  return probes::eventually([&] { return std::none_of(pids.begin(), pids.end(), &runs); });
}

}  // namespace child
