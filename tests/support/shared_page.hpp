// Memory that the driver of a test and its worker processes share: a page of slots of 48 bytes, all
// zero at first, found by a key. The driver makes it before main and names it in the environment,
// which its workers inherit; what no runtime starts is a driver with a page of its own.
#pragma once

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

extern "C" const char __executable_start[];  // NOLINT: the linker's names.
extern "C" const char _end[];                // NOLINT

namespace support {

struct alignas(64) SharedSlot {
  std::atomic<std::uint64_t> key;  // 0: nobody's.
  alignas(16) std::byte bytes[48];
};

struct SharedPage {
  static constexpr std::size_t kSlots = 1 << 16;

  std::atomic<std::uint64_t> keys;  // Given by fresh_key().
  SharedSlot slots[kSlots];
};

inline constexpr const char* kPageVariable = "RAY_TEST_PAGE";

[[noreturn]] inline void no_page(const char* why) {
  std::perror(why);
  std::abort();
}

inline SharedPage* map_page() {
  const char* path = std::getenv(kPageVariable);
  int file = -1;
  if (path != nullptr) {
    file = ::open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) no_page("ray tests: open the shared page of the driver");
  } else {
    file = ::memfd_create("ray_tests", MFD_CLOEXEC);
    if (file < 0 || ::ftruncate(file, sizeof(SharedPage)) != 0) no_page("ray tests: memfd_create");
    const std::string name = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(file);
    ::setenv(kPageVariable, name.c_str(), 1);
  }
  void* memory = ::mmap(nullptr, sizeof(SharedPage), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) no_page("ray tests: mmap of the shared page");
  if (path != nullptr) ::close(file);  // The driver's stays open: workers come later too.
  return static_cast<SharedPage*>(memory);
}

inline SharedPage& page() {
  static SharedPage* const mapped = map_page();
  return *mapped;
}

/// Before main, so that all workers inherit its name.
inline SharedPage& mapped_early = page();

/// Of something that is no static; the page knows it until the driver ends.
inline std::uint64_t fresh_key() { return ++page().keys | std::uint64_t{1} << 63; }

/// Of a static: its place in the executable, which all processes run.
inline bool is_static(const void* object) { return object >= __executable_start && object < _end; }
inline std::uint64_t key_of_static(const void* object) {
  return static_cast<std::uint64_t>(static_cast<const char*>(object) - __executable_start);
}

/// The slot of the key.
inline std::byte* shared_bytes(std::uint64_t key) {
  for (std::size_t at = key * 0x9e3779b97f4a7c15U >> 48;; ++at) {
    SharedSlot& slot = page().slots[at % SharedPage::kSlots];
    std::uint64_t found = slot.key.load(std::memory_order_acquire);
    if (found == 0) slot.key.compare_exchange_strong(found, key);
    if (found == 0 || found == key) return slot.bytes;
  }
}

/// Sleeps while `word` is `value`, at most so long.
inline void sleep_while(std::uint32_t& word, std::uint32_t value, std::chrono::nanoseconds most) {
  timespec rest{};
  rest.tv_sec = static_cast<time_t>(most.count() / 1'000'000'000);
  rest.tv_nsec = static_cast<long>(most.count() % 1'000'000'000);
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &rest, nullptr, 0);
}
inline void wake_all(std::uint32_t& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace support
