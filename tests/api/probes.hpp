// What the tests of the public surface look through: objects that count their copies, gates that
// hold a task where a test wants it, and waiting for a condition with a deadline.
#pragma once

#include <ray/error.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace probes {

using namespace std::chrono_literals;

inline constexpr std::chrono::seconds kDeadline{30};

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

/// `full` natively, a tenth of it under a sanitizer.
constexpr int scaled(int full) { return kSanitized ? (full + 9) / 10 : full; }

/// Whether `condition` comes true before the deadline. Looks again every 200 microseconds.
template <class Condition>
bool eventually(Condition condition, std::chrono::nanoseconds deadline = kDeadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    never.wait_for(lock, 200us);
  }
  return true;
}

/// What `call` is refused with as a misuse; that it is not, if it is not.
template <class Call>
std::string complaint(const Call& call) {
  try {
    call();
  } catch (const ray::InvalidArgumentError& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another type: ") + error.what();
  }
  return "accepted";
}

/// Opens once. Those who pass wait for it, and throw after the deadline rather than hang a test.
class Gate {
public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    const bool open = opened_.wait_for(lock, kDeadline, [this] { return open_; });
    --waiting_;
    if (!open) throw std::runtime_error("a gate was not opened in time");
  }
  bool is_open() {
    const std::lock_guard lock(mutex_);
    return open_;
  }
  int waiting() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }
  bool await_waiting(int count) {
    return eventually([&] { return waiting() >= count; });
  }

private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
  int waiting_ = 0;
};

/// Opens a gate when a test ends, however it ends, so that no task is left waiting.
class OpenAtExit {
public:
  explicit OpenAtExit(Gate& gate) : gate_(gate) {}
  ~OpenAtExit() { gate_.open(); }
  OpenAtExit(const OpenAtExit&) = delete;
  OpenAtExit& operator=(const OpenAtExit&) = delete;

private:
  Gate& gate_;
};

/// How many are inside at a time, and the most there ever were.
class Meter {
public:
  class Inside {
  public:
    explicit Inside(Meter& meter) : meter_(meter) {
      const int now = ++meter_.now_;
      for (int most = meter_.most_; most < now && !meter_.most_.compare_exchange_weak(most, now);) {
      }
    }
    ~Inside() { --meter_.now_; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

  private:
    Meter& meter_;
  };

  int now() const { return now_; }
  int most() const { return most_; }

private:
  std::atomic<int> now_{0};
  std::atomic<int> most_{0};
};

/// Counts its copies and moves, and how many there are. `Tag` keeps the counts of tests apart.
template <class Tag>
class Counted {
public:
  Counted() : Counted(0) {}
  explicit Counted(int value) : value_(value) { ++alive_; }
  Counted(const Counted& other) : value_(other.value_) {
    ++alive_;
    ++copies_;
  }
  Counted(Counted&& other) noexcept : value_(std::exchange(other.value_, -1)) {
    ++alive_;
    ++moves_;
  }
  Counted& operator=(const Counted& other) {
    value_ = other.value_;
    ++copies_;
    return *this;
  }
  Counted& operator=(Counted&& other) noexcept {
    value_ = std::exchange(other.value_, -1);
    ++moves_;
    return *this;
  }
  ~Counted() { --alive_; }

  int value() const { return value_; }

  static int alive() { return alive_; }
  static int copies() { return copies_; }
  static int moves() { return moves_; }
  static bool none_left() {
    return eventually([] { return alive_ == 0; });
  }

private:
  int value_;
  inline static std::atomic<int> alive_{0};
  inline static std::atomic<int> copies_{0};
  inline static std::atomic<int> moves_{0};
};

}  // namespace probes
