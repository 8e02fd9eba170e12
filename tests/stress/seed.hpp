// The seed of a random test: printed, and settable with RAY_TEST_SEED to see the same again.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace stress {

/// A generator of random numbers with the seed of this run. Threads: one.
inline std::mt19937_64 seeded(const char* test) {
  const char* given = std::getenv("RAY_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::uint64_t{std::random_device{}()};
  std::fprintf(stderr, "%s: RAY_TEST_SEED=%llu\n", test, static_cast<unsigned long long>(seed));
  return std::mt19937_64(seed);
}

/// A number from 0 to `end` - 1.
inline int below(std::mt19937_64& random, int end) {
  return static_cast<int>(random() % static_cast<std::uint64_t>(end));
}

}  // namespace stress
