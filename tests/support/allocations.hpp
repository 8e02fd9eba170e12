// How many bytes this thread takes from the heap; for programs that link allocations.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace support {

/// What this thread has asked `operator new` for since it began.
std::uint64_t allocated_bytes() noexcept;

/// Counts from where it is made.
class Allocations {
public:
  std::uint64_t bytes() const noexcept { return allocated_bytes() - start_; }

private:
  std::uint64_t start_ = allocated_bytes();
};

}  // namespace support
