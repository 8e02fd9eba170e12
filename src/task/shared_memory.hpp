// Memory that processes share: a file without a name (memfd), whose size nobody can change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "task/descriptor.hpp"

namespace ray::detail {

/// Zeroed, of `size` bytes for good, closed by exec, never executable where the kernel knows that.
/// `name` is for people who look into /proc.
std::optional<Descriptor> make_memory(const char* name, std::uint64_t size, SystemFault& fault);

/// Whether it is such memory and has that size: then no access to a mapping of it can fault because
/// somebody made it smaller. For descriptors that come from a peer.
bool is_memory(int descriptor, std::uint64_t size, SystemFault& fault);

enum class MemoryAccess : std::uint8_t { read, read_write };

/// A mapping of the whole of it; ends with its owner. Does not need the descriptor to stay open.
class Mapping {
public:
  Mapping() = default;
  ~Mapping() { reset(); }
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
  }

  static std::optional<Mapping> make(int descriptor, std::uint64_t size, MemoryAccess access,
                                     SystemFault& fault);

  std::span<std::byte> bytes() const noexcept { return bytes_; }

private:
  void reset() noexcept;

  std::span<std::byte> bytes_;
};

}  // namespace ray::detail
