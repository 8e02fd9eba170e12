// The socket beside a link: small records, each with at most one descriptor, and the news that the
// peer is dead, which the kernel gives by closing the peer's end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "task/descriptor.hpp"

namespace ray::detail {

/// Who is at the other end, as the kernel knows it.
struct PeerProcess {
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  friend bool operator==(const PeerProcess&, const PeerProcess&) = default;
};

/// A record never waits: sockets hold some hundred of them, and few are ever under way.
/// Threads: one at a time.
class UnixSocket {
public:
  static constexpr std::size_t kRecordMax = 4096;

  explicit UnixSocket(Descriptor end) noexcept : end_(std::move(end)) {}
  /// Two ends, closed by exec.
  static std::optional<std::pair<UnixSocket, UnixSocket>> pair(SystemFault& fault);

  enum class Sent : std::uint8_t { all, full, closed, fault };
  /// Requires: record is not empty and not longer than kRecordMax. `descriptor`: -1 for none; it
  /// stays the caller's.
  Sent send(std::span<const std::byte> record, int descriptor, SystemFault& fault);

  struct Record {
    std::size_t size = 0;   // Bytes of the buffer that are filled.
    Descriptor descriptor;  // Closed by exec; open only if the record carried exactly one.
    PeerProcess sender;     // Of this record, after identify_senders().
  };
  /// `refused`: it was longer than the buffer or carried more than one descriptor; all of them are
  /// closed again. `closed`: the peer is gone, and what it had sent is read.
  enum class Received : std::uint8_t { record, nothing, closed, refused, fault };
  Received receive(std::span<std::byte> buffer, Record& record, SystemFault& fault);

  /// From here on records say who sent them: the pid that the kernel has checked.
  bool identify_senders(SystemFault& fault);

  int number() const noexcept { return end_.number(); }
  void close() noexcept { end_.close(); }

private:
  Descriptor end_;
};

/// Who *made* the socket pair: for a worker its driver, for a driver itself. Who is at the other
/// end now is known by `Record::sender` only.
std::optional<PeerProcess> socket_maker(int descriptor, SystemFault& fault);

/// Whether the descriptor is the end of such a socket pair.
bool is_record_socket(int descriptor) noexcept;

}  // namespace ray::detail
