// Objects that memory has no room for, in a file: one for all of them, so that the number of
// objects is no number of descriptors. It has no name: whatever ends the process, nothing is left.
//
// Made for objects to come back while the process lives, not for it to come back: nothing is
// flushed to the disk, and nobody reads it later. What is read is checked all the same, since what
// a disk gives back may be something else, and a wrong value must not become a result.
//
// Layout: an object is a header, the checksums of its chunks, and its bytes; where it lies is known
// only here. Room that is dropped is used again, best fit, and large parts of it are given back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "task/descriptor.hpp"

namespace ray::detail {

inline constexpr std::uint64_t kSpillChunk = std::uint64_t{1} << 20;  // With one checksum.

/// Threads: any; they read and write at the same time. Dropping what is being read makes that read
/// fail.
class SpillFile {
public:
  /// In `directory`, or where it is empty in TMPDIR or /var/tmp (not /tmp, which is memory on many
  /// a machine) or /tmp. By open_by_name() where the file system knows no nameless files.
  static std::optional<SpillFile> open(const std::string& directory, SystemFault& fault);
  /// In a directory of its own that is gone again at once, with the name of the file. What a
  /// process left that died in between is removed first.
  static std::optional<SpillFile> open_by_name(const std::string& directory, SystemFault& fault);
  ~SpillFile();
  SpillFile(SpillFile&&) noexcept;
  SpillFile& operator=(SpillFile&&) noexcept;

  /// A handle to read it by, never 0. None where there is no room (ENOSPC, EFBIG for a process's or
  /// a file system's limit of a file) or the disk fails; the room is free again then.
  std::optional<std::uint64_t> write(std::uint64_t object, std::span<const std::byte> bytes,
                                     SystemFault& fault);
  /// False with the reason unless it is every byte that was written under that handle.
  /// Requires: `into` has the object's size, or it is refused.
  bool read(std::uint64_t handle, std::span<std::byte> into, std::string& why) const;
  /// Its room may be used for others. An unknown handle is no matter.
  void drop(std::uint64_t handle) noexcept;

  /// Of objects that are in it, headers included.
  std::uint64_t bytes_used() const;
  /// Where the file ends: what it takes on disk at most.
  std::uint64_t bytes_end() const;
  /// For tests, which spoil it.
  int descriptor() const noexcept;

private:
  struct Extent {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };
  struct Entry {
    Extent extent;
    std::uint64_t object = 0;
    std::uint64_t bytes = 0;
  };
  struct State;

  explicit SpillFile(Descriptor file);
  std::pair<std::uint64_t, Extent> enter(std::uint64_t object, std::uint64_t bytes);
  Extent take_room(std::uint64_t size);
  void give_room(Extent extent) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace ray::detail
