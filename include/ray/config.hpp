// What the compiler and the build tell us: sanitizers, assertions, cache line size.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define RAY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RAY_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define RAY_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAY_ASAN 1
#endif
#endif

namespace ray::detail {

/// Prints the failed condition and where it stands, then aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;

inline constexpr std::size_t kCacheLine = 64;

}  // namespace ray::detail

/// For bugs of the library itself, never for input: on in release builds too.
#define RAY_ASSERT(condition)                        \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::ray::detail::assertion_failed(#condition, __FILE__, __LINE__))
