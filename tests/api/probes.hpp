// What the tests of the public surface look through: objects that count their copies, gates that
// hold a task where a test wants it, and waiting for a condition with a deadline. All of it is the
// same whether tasks run in threads or in processes (support/shared_page.hpp).
#pragma once

#include <ray/error.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "support/shared_page.hpp"

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

inline bool in_processes() {
  static const char* const isolation = std::getenv("RAY_ISOLATION");
  return isolation != nullptr && std::string(isolation) == "processes";
}

/// `full` in threads, a tenth of it where tasks take longer: in processes, or under a sanitizer.
inline int scaled(int full) {
  if (kSanitized) full = (full + 9) / 10;
  return in_processes() ? (full + 9) / 10 : full;
}

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

/// Something that the driver and its worker processes share. A static one is known by its place in
/// the executable, also where a worker never comes to its declaration; a copy of any other, and
/// what is sent of it, is the same one. All begin as 0. Nothing before a test's first runtime may
/// change one: the workers come by there too.
class Probe {
public:
  Probe() : key_(support::is_static(this) ? 0 : support::fresh_key()) {}
  Probe(const Probe& other) : key_(other.key()) {}
  Probe& operator=(const Probe& other) {
    key_ = other.key();
    return *this;
  }

  template <class Archive>
  void save(Archive& archive) const {
    archive(key());
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(key_);
  }

protected:
  /// The word of this index.
  template <class T>
  std::atomic_ref<T> word(std::size_t index = 0) const {
    return std::atomic_ref<T>(address<T>(index));
  }
  template <class T>
  T& address(std::size_t index = 0) const {
    static_assert(sizeof(T) <= 8);
    return *reinterpret_cast<T*>(support::shared_bytes(key()) + 8 * index);
  }

private:
  std::uint64_t key() const { return key_ != 0 ? key_ : support::key_of_static(this); }

  std::uint64_t key_;
};

/// A shared std::atomic.
template <class T>
class Shared : public Probe {
public:
  T load() const { return word<T>().load(); }
  operator T() const { return load(); }  // NOLINT(google-explicit-constructor): as std::atomic.
  T operator=(T value) {                 // NOLINT(misc-unconventional-assign-operator): likewise.
    word<T>().store(value);
    return value;
  }
  T operator++() { return word<T>() += 1; }
  T operator++(int) { return word<T>()++; }
  T operator--() { return word<T>() -= 1; }
  T operator+=(T value) { return word<T>() += value; }
  T operator-=(T value) { return word<T>() -= value; }
  T exchange(T value) { return word<T>().exchange(value); }
  /// The larger of what it is and `value`.
  void raise(T value) {
    for (T seen = load(); seen < value && !word<T>().compare_exchange_weak(seen, value);) {
    }
  }
};

/// Opens once. Those who pass wait for it, and throw after the deadline rather than hang a test.
class Gate : public Probe {
public:
  void open() const {
    word<std::uint32_t>(kOpen) = 1;
    support::wake_all(address<std::uint32_t>(kOpen));
  }
  void pass() const {
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    ++word<int>(kWaiting);
    while (!is_open() && std::chrono::steady_clock::now() < end) {
      support::sleep_while(address<std::uint32_t>(kOpen), 0, 1s);
    }
    --word<int>(kWaiting);
    if (!is_open()) throw std::runtime_error("a gate was not opened in time");
  }
  bool is_open() const { return word<std::uint32_t>(kOpen) != 0; }
  int waiting() const { return word<int>(kWaiting); }
  bool await_waiting(int count) const {
    return eventually([&] { return waiting() >= count; });
  }

private:
  static constexpr std::size_t kOpen = 0;
  static constexpr std::size_t kWaiting = 1;
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
    explicit Inside(Meter& meter) : meter_(meter) { meter_.most_.raise(++meter_.now_); }
    ~Inside() { --meter_.now_; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

  private:
    Meter& meter_;
  };

  int now() const { return now_; }
  int most() const { return most_; }

private:
  Shared<int> now_;
  Shared<int> most_;
};

/// Counts its copies and moves, and how many there are in all processes. `Tag` keeps the counts of
/// tests apart.
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
  static bool none_left() { return come_to(0); }
  /// Whether so many are left in the end.
  static bool come_to(int count) {
    return eventually([count] { return alive_ == count; });
  }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(value_);
  }

private:
  int value_;
  inline static Shared<int> alive_;
  inline static Shared<int> copies_;
  inline static Shared<int> moves_;
};

}  // namespace probes
