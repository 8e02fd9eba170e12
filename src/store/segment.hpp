// A part of the object store: memory that one process writes and others read (docs/processes.md).
//
// The host makes it and maps it; the writer maps it; then the host seals it, and from then on
// nobody can make a mapping that writes, however it tries. A segment that only the host writes is
// sealed before it is shown to anyone.
//
// A sealed segment gives memory back only as a whole: the kernel lets nobody punch holes into what
// is sealed against writers. Where parts shall go back while others are in use, leave it unsealed
// and hand out open_for_readers(): a descriptor that only reads, which keeps wild writes out, but
// not a reader that opens the file anew by /proc/self/fd on purpose.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "task/shared_memory.hpp"

namespace ray::detail {

/// Threads: any; who writes where is their affair.
class Segment {
public:
  /// Mapped for reading and writing. Its pages come when they are touched, or by populate().
  static std::optional<Segment> make(std::uint64_t size, SystemFault& fault);
  /// What was handed over: checked to be memory of that size that cannot shrink, and for readers
  /// also that it is sealed or only readable, so that a node's mistake is found here.
  static std::optional<Segment> attach(Descriptor memory, std::uint64_t size, MemoryAccess access,
                                       SystemFault& fault);

  /// No new mapping writes; those that are there go on. For good.
  bool seal(SystemFault& fault);
  /// A descriptor of the same memory by which it cannot be written.
  std::optional<Descriptor> open_for_readers(SystemFault& fault) const;

  /// Gets memory for the range now, or writing it may be a SIGBUS: nothing else counts what a
  /// segment may take. A lack is a fault: ENOSPC or ENOMEM. (There is no limit but the machine's; a
  /// control group's is kept by the kernel's killer.)
  bool reserve(std::uint64_t offset, std::uint64_t size, SystemFault& fault);
  /// Reserves the range and maps its pages, so that writing it does not wait for the kernel.
  bool populate(std::uint64_t offset, std::uint64_t size, SystemFault& fault);
  /// Gives back the memory of the whole pages in the range, which reads as zero afterwards. EPERM
  /// once the segment is sealed.
  bool discard(std::uint64_t offset, std::uint64_t size, SystemFault& fault);

  /// Read-only memory for a reader.
  std::span<std::byte> bytes() const noexcept { return mapping_.bytes(); }
  /// To be handed to others; -1 once it is closed.
  int descriptor() const noexcept { return memory_.number(); }
  /// Keeps the mapping, for those who hold many. populate() and discard() need it.
  void close_descriptor() noexcept { memory_.close(); }

private:
  Segment(Descriptor memory, Mapping mapping, MemoryAccess access);
  bool holds(std::uint64_t offset, std::uint64_t size, SystemFault& fault) const;

  Descriptor memory_;
  Mapping mapping_;
  MemoryAccess access_;
};

}  // namespace ray::detail
