// What is done with bytes that anybody may have written. Each target is a libFuzzer program
// (`./dev fuzz`), and the unit tests run it with the files of tests/fuzz/corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

namespace fuzz {

using Bytes = std::span<const std::byte>;

// They throw std::logic_error when a promise is broken.
void message(Bytes bytes);
void failure(Bytes bytes);
void stored(Bytes bytes);
void archive(Bytes bytes);

inline void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

/// What reading so many bytes may take from the heap.
constexpr std::uint64_t allocation_limit(std::size_t bytes) {
  return 4 * std::uint64_t{bytes} + (std::uint64_t{64} << 10);
}

}  // namespace fuzz
