// A file descriptor with an owner, and a system call that failed, as values.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace ray::detail {

/// Which call failed, and why.
struct SystemFault {
  const char* call = "";  // What was tried, a literal.
  int error = 0;          // As in errno; 0: the call worked, but gave what it should not.

  /// The failure of `call` that errno tells of.
  static SystemFault of(const char* call) noexcept;
  /// "memfd_create: Too many open files".
  std::string text() const;
};

/// Whether this process may make a file that large, of memory or on disk: the kernel kills with
/// SIGXFSZ who tries beyond the limit (ulimit -f).
bool file_may_have(std::uint64_t bytes) noexcept;

/// Closes its descriptor when it goes.
class Descriptor {
public:
  Descriptor() = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }

  explicit operator bool() const noexcept { return number_ >= 0; }
  int number() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }
  /// Leaves errno as it is.
  void close() noexcept;

private:
  int number_ = -1;
};

}  // namespace ray::detail
