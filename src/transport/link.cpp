#include "transport/link.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "task/timespec.hpp"

namespace ray::detail {

namespace {

constexpr std::uint64_t kRingBytesMax = std::uint64_t{1} << 30;
constexpr std::uint64_t kMessageBytesMax = 0xffff'ffff;  // The rest of a message is 32 bits wide.
constexpr std::size_t kKeptForLong = std::size_t{1} << 20;

enum class Part : std::uint32_t { memory, host_bell, worker_bell };

/// The record that comes with each descriptor of a link.
struct Offer {
  std::uint64_t magic = 0x6b6e696c'2d796172;  // "ray-link"
  Part part = Part::memory;
  std::uint32_t version = 1;
  LinkLimits limits;
};

bool are_possible(const LinkLimits& limits) {
  return std::has_single_bit(limits.ring_bytes) && limits.ring_bytes >= kRingBytesMin &&
         limits.ring_bytes <= kRingBytesMax && limits.message_bytes <= kMessageBytesMax;
}

std::uint64_t memory_bytes(const LinkLimits& limits) {
  const std::uint64_t page = 4096;
  return (2 * ring_memory_bytes(limits.ring_bytes) + page - 1) & ~(page - 1);
}

/// The host writes the first ring, the worker the second.
std::span<std::byte> ring_part(const Mapping& memory, const LinkLimits& limits, bool first) {
  const auto bytes = static_cast<std::size_t>(ring_memory_bytes(limits.ring_bytes));
  return memory.bytes().subspan(first ? 0 : bytes, bytes);
}

/// An eventfd has no type of file, as all that is nameless in the kernel, and ours do not block.
bool may_be_bell(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return false;
  const int flags = ::fcntl(descriptor, F_GETFL);
  return (status.st_mode & S_IFMT) == 0 && flags >= 0 && (flags & O_NONBLOCK) != 0;
}

bool send_part(UnixSocket& socket, Part part, const LinkLimits& limits, const Descriptor& what,
               SystemFault& fault) {
  Offer offer;
  offer.part = part;
  offer.limits = limits;
  fault = {"the socket of a new link takes no record", 0};
  return socket.send(std::as_bytes(std::span(&offer, 1)), what.number(), fault) ==
         UnixSocket::Sent::all;
}

std::optional<Descriptor> receive_part(UnixSocket& socket, Part part, LinkLimits& limits,
                                       SystemFault& fault) {
  Offer offer;
  UnixSocket::Record record;
  fault = {"the socket of a worker does not hold its link", 0};
  const auto got = socket.receive(std::as_writable_bytes(std::span(&offer, 1)), record, fault);
  if (got != UnixSocket::Received::record) return std::nullopt;
  if (record.size != sizeof offer || offer.magic != Offer().magic ||
      offer.version != Offer().version || offer.part != part || !are_possible(offer.limits) ||
      (part != Part::memory && offer.limits != limits)) {
    fault = {"the offer of a link is not as it should be", 0};
    return std::nullopt;
  }
  limits = offer.limits;
  const int what = record.descriptor.number();
  if (part == Part::memory ? !is_memory(what, memory_bytes(limits), fault) : !may_be_bell(what)) {
    if (part != Part::memory) fault = {"the bell of a link is no eventfd", 0};
    return std::nullopt;
  }
  return std::move(record.descriptor);
}

}  // namespace

Link::Link(Mapping memory, const LinkLimits& limits, Side side, UnixSocket socket, Descriptor bell,
           Descriptor peer_bell)
    : memory_(std::move(memory)),
      limits_(limits),
      writer_(ring_part(memory_, limits, side == Side::host), limits.ring_bytes),
      reader_(ring_part(memory_, limits, side == Side::worker), limits.ring_bytes),
      socket_(std::move(socket)),
      bell_(std::move(bell)),
      peer_bell_(std::move(peer_bell)) {}

std::optional<Link::Ends> Link::make(const LinkLimits& limits, SystemFault& fault) {
  if (!are_possible(limits)) {
    fault = {"the limits of a link are not possible", 0};
    return std::nullopt;
  }
  auto memory = make_memory("ray-link", memory_bytes(limits), fault);
  if (!memory) return std::nullopt;
  auto mapping =
      Mapping::make(memory->number(), memory_bytes(limits), MemoryAccess::read_write, fault);
  if (!mapping) return std::nullopt;
  Descriptor host_bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Descriptor worker_bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!host_bell || !worker_bell) {
    fault = SystemFault::of("eventfd");
    return std::nullopt;
  }
  auto sockets = UnixSocket::pair(fault);
  // The records wait in the socket until the worker looks.
  if (!sockets || !sockets->first.identify_senders(fault) ||
      !send_part(sockets->first, Part::memory, limits, *memory, fault) ||
      !send_part(sockets->first, Part::host_bell, limits, host_bell, fault) ||
      !send_part(sockets->first, Part::worker_bell, limits, worker_bell, fault)) {
    return std::nullopt;
  }
  return Ends{Link(std::move(*mapping), limits, Side::host, std::move(sockets->first),
                   std::move(host_bell), std::move(worker_bell)),
              std::move(sockets->second)};
}

std::optional<Link> Link::attach(Descriptor socket_end, SystemFault& fault) {
  UnixSocket socket(std::move(socket_end));
  LinkLimits limits;
  auto memory = receive_part(socket, Part::memory, limits, fault);
  if (!memory) return std::nullopt;
  auto host_bell = receive_part(socket, Part::host_bell, limits, fault);
  if (!host_bell) return std::nullopt;
  auto worker_bell = receive_part(socket, Part::worker_bell, limits, fault);
  if (!worker_bell) return std::nullopt;
  auto mapping =
      Mapping::make(memory->number(), memory_bytes(limits), MemoryAccess::read_write, fault);
  if (!mapping) return std::nullopt;
  return Link(std::move(*mapping), limits, Side::worker, std::move(socket), std::move(*worker_bell),
              std::move(*host_bell));
}

// --- sending ---

void Link::ring() noexcept {
  const std::uint64_t once = 1;
  // EAGAIN: it was rung 2^64 times and nobody has listened; it is readable anyway.
  while (::write(peer_bell_.number(), &once, sizeof once) < 0 && errno == EINTR) {
  }
}

bool Link::fail(RingFault fault) noexcept {
  fault_ = fault;
  return false;
}

/// Writes from `written` on as far as there is room; how much is written then.
std::size_t Link::write_parts(std::span<const std::byte> body, std::size_t written) {
  do {
    const std::size_t part = std::min(body.size() - written, writer_.frame_max());
    const std::size_t rest = body.size() - written - part;
    const auto wrote =
        writer_.try_write(body.subspan(written, part), static_cast<std::uint32_t>(rest));
    if (wrote == RingWriter::Wrote::fault) fail(RingFault::index);
    if (wrote != RingWriter::Wrote::all) return written;
    written += part;
  } while (written < body.size());
  return written;
}

Link::Sent Link::send(std::span<const std::byte> body, bool urgent) {
  if (fault_ != RingFault::none) return Sent::broken;
  // No message is empty, so that one that is written can be told from one that is not.
  if (body.empty() || body.size() > limits_.message_bytes) return Sent::refused;
  if (queued_bytes_ + body.size() > limits_.queue_bytes && !flush()) {
    if (fault_ != RingFault::none) return Sent::broken;
    if (queued_bytes_ + body.size() > limits_.queue_bytes) return Sent::refused;
  }
  const std::size_t written = queue_.empty() ? write_parts(body, 0) : 0;
  if (fault_ != RingFault::none) return Sent::broken;
  if (written < body.size()) {
    const auto left = body.subspan(written);
    queue_.push_back({{left.begin(), left.end()}, 0});
    queued_bytes_ += left.size();
    return flush() ? Sent::in_ring : fault_ != RingFault::none ? Sent::broken : Sent::queued;
  }
  if (writer_.must_ring(urgent)) ring();
  return Sent::in_ring;
}

void Link::move_queue() {
  while (!queue_.empty() && fault_ == RingFault::none) {
    Waiting& next = queue_.front();
    const std::size_t written = write_parts(next.bytes, next.written);
    queued_bytes_ -= written - next.written;
    next.written = written;
    if (written < next.bytes.size()) return;
    queue_.pop_front();
  }
}

bool Link::flush() {
  if (queue_.empty()) return true;
  // Another thread may sleep for this link already, and none need come by again: what is left is
  // never without a promise of the bell.
  do {
    move_queue();
  } while (!queue_.empty() && fault_ == RingFault::none && !writer_.wait_for_room());
  // What waited so long is urgent.
  if (writer_.must_ring(true)) ring();
  return queue_.empty();
}

// --- receiving ---

void Link::release_frame() {
  if (!std::exchange(frame_out_, false)) return;
  if (reader_.release()) ring();
}

/// Adds a part to the long message; false if it does not belong to it.
bool Link::append(const RingReader::Frame& frame) {
  const std::uint64_t size = frame.body.size() + std::uint64_t{frame.rest};
  const bool fits = missing_ == 0 ? size <= limits_.message_bytes : size == missing_;
  if (!fits || frame.body.empty()) return fail(RingFault::sequence);
  if (missing_ == 0) long_message_.clear();
  // Grows with what has come, not with what was promised.
  long_message_.insert(long_message_.end(), frame.body.begin(), frame.body.end());
  missing_ = frame.rest;
  return true;
}

bool Link::receive(std::span<const std::byte>& body) {
  release_frame();
  if (missing_ == 0 && long_message_.capacity() > kKeptForLong) long_message_ = {};
  while (fault_ == RingFault::none) {
    RingReader::Frame frame;
    const auto read = reader_.try_read(frame);
    if (read == RingReader::Read::nothing) return false;
    if (read == RingReader::Read::fault) return fail(reader_.fault());
    frame_out_ = true;
    if (frame.rest == 0 && missing_ == 0) {
      if (frame.body.empty()) return fail(RingFault::sequence);
      body = frame.body;
      return true;
    }
    if (!append(frame)) return false;
    release_frame();
    if (missing_ != 0) continue;
    body = long_message_;
    return true;
  }
  return false;
}

// --- sleeping ---

bool Link::prepare_sleep() {
  release_frame();
  reader_.set_state(ReaderState::sleeps);
  if (fault_ != RingFault::none) return true;  // There is only the peer's death to wait for.
  if (reader_.has_more()) return false;
  return queue_.empty() || writer_.wait_for_room();
}

void Link::awake(bool rung) {
  reader_.set_state(ReaderState::polls);
  if (!rung) return;
  std::uint64_t times = 0;
  while (::read(bell_.number(), &times, sizeof times) < 0 && errno == EINTR) {
  }
}

bool Link::set_readers(bool look, bool sleep) {
  if (!look && sleep) return prepare_sleep();
  if (look) {
    awake(false);
  } else {
    set_away();
  }
  return true;
}

bool Link::sleep(std::optional<std::chrono::nanoseconds> timeout) {
  if (!prepare_sleep()) {
    awake(false);
    return true;
  }
  timespec time{};
  if (timeout) time = to_timespec(std::max(*timeout, std::chrono::nanoseconds(0)));
  pollfd events[] = {{bell_.number(), POLLIN, 0}, {socket_.number(), POLLIN, 0}};
  const int ready = ::ppoll(events, 2, timeout ? &time : nullptr, nullptr);
  awake(ready > 0 && (events[0].revents & POLLIN) != 0);
  return ready != 0;
}

}  // namespace ray::detail
