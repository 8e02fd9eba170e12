// A worker's link with its node, as seen from either side: two rings in one shared memory, a bell
// for each reader, and the socket (docs/processes.md, "Links").
//
// A message is any number of bytes up to a limit. One that is longer than a frame goes in parts;
// what does not fit into the ring waits in this process's memory, in order, until flush().
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "task/shared_memory.hpp"
#include "transport/ring.hpp"
#include "transport/unix_socket.hpp"

namespace ray::detail {

/// The same on both sides; the host's are sent to the worker.
struct LinkLimits {
  std::uint64_t ring_bytes = std::uint64_t{1} << 20;      // Of each direction; a power of two.
  std::uint64_t message_bytes = std::uint64_t{64} << 20;  // Of one message.
  std::uint64_t queue_bytes = std::uint64_t{256} << 20;   // Sent and not in the ring yet.
  friend bool operator==(const LinkLimits&, const LinkLimits&) = default;
};

/// Threads: one at a time. The peer's death does not hurt it: what came before can still be read,
/// what is sent goes nowhere.
class Link {
public:
  struct Ends;
  /// The host's end, and the socket to start the worker with. It must be closed in the host once
  /// the worker runs, or the worker's death is not seen.
  static std::optional<Ends> make(const LinkLimits& limits, SystemFault& fault);
  /// The worker's end. Checks all that it is handed.
  static std::optional<Link> attach(Descriptor socket, SystemFault& fault);

  enum class Sent : std::uint8_t {
    in_ring,  // The peer sees it.
    queued,   // It is sent by flush(): the bell rings with room.
    refused,  // Longer than a message may be, or the queue is full: nothing was sent.
    broken,   // The ring is; see fault().
  };
  /// `urgent`: rings for a reader that is away, too.
  Sent send(std::span<const std::byte> body, bool urgent);
  /// Moves what waits into the ring. True if nothing is left; otherwise the bell rings with room.
  bool flush();
  std::uint64_t queued_bytes() const noexcept { return queued_bytes_; }

  /// The next message; false if there is none, or the ring is broken. The bytes are valid until the
  /// next call. They may lie in the ring, so a peer may change them: decode them reading each once.
  bool receive(std::span<const std::byte>& body);
  /// How the peer broke the ring. Nothing goes in or out from then on.
  RingFault fault() const noexcept { return fault_; }

  // --- sleeping ---
  // A thread that serves one link sleeps by sleep(). One that serves many calls prepare_sleep() of
  // each, waits for their bells and sockets if all are true, and calls awake() of each.

  /// From here on the peer rings. False if there is something to receive, or to flush: do that.
  bool prepare_sleep();
  /// The thread looks by itself again. `rung`: the bell is readable, and is silenced.
  void awake(bool rung);
  /// The thread does something else and will be back: rung for what is urgent, or when the ring is
  /// half full. Look into the ring once before, as before sleeping.
  void set_away() noexcept { reader_.set_state(ReaderState::away); }
  /// For several threads, of which some look again and again, or sleep: the peer does nothing while
  /// one looks, rings while one sleeps, and rings for what is urgent otherwise. False if there is
  /// something to receive already that nobody would hear of.
  bool set_readers(bool look, bool sleep);
  /// False if the time is over. The socket may have something to say as well.
  bool sleep(std::optional<std::chrono::nanoseconds> timeout);

  UnixSocket& socket() noexcept { return socket_; }
  /// Readable when the peer has rung.
  int bell() const noexcept { return bell_.number(); }

private:
  enum class Side : std::uint8_t { host, worker };
  struct Waiting {
    std::vector<std::byte> bytes;
    std::size_t written = 0;
  };
  Link(Mapping memory, const LinkLimits& limits, Side side, UnixSocket socket, Descriptor bell,
       Descriptor peer_bell);

  std::size_t write_parts(std::span<const std::byte> body, std::size_t written);
  void move_queue();
  void ring() noexcept;
  void release_frame();
  bool fail(RingFault fault) noexcept;
  bool append(const RingReader::Frame& frame);

  Mapping memory_;
  LinkLimits limits_;
  RingWriter writer_;
  RingReader reader_;
  UnixSocket socket_;
  Descriptor bell_;
  Descriptor peer_bell_;
  std::deque<Waiting> queue_;
  std::uint64_t queued_bytes_ = 0;
  std::vector<std::byte> long_message_;
  std::uint64_t missing_ = 0;  // Bytes of the long message that have not come yet.
  bool frame_out_ = false;
  RingFault fault_ = RingFault::none;
};

struct Link::Ends {
  Link host;
  UnixSocket worker_socket;
};

}  // namespace ray::detail
