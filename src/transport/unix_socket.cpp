#include "transport/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <ray/config.hpp>

namespace ray::detail {

namespace {

constexpr std::size_t kDescriptorsMax = 253;  // The kernel's SCM_MAX_FD: none is lost unseen.

struct Control {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * kDescriptorsMax) +
                                             CMSG_SPACE(sizeof(ucred))> bytes;
};

msghdr header_of(iovec& bytes, void* control, std::size_t control_size) {
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = control_size;
  return message;
}

/// Takes what the message carries. Every descriptor gets an owner, also those that are too many.
std::size_t take_control(msghdr& message, UnixSocket::Record& record) {
  std::size_t count = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET) continue;
    const std::size_t bytes = part->cmsg_len - CMSG_LEN(0);
    if (part->cmsg_type == SCM_RIGHTS) {
      for (std::size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
        int number = -1;
        std::memcpy(&number, CMSG_DATA(part) + at, sizeof number);
        record.descriptor = Descriptor(number);  // Closes the one before.
        ++count;
      }
    } else if (part->cmsg_type == SCM_CREDENTIALS && bytes >= sizeof(ucred)) {
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(part), sizeof sender);
      record.sender = {sender.pid, sender.uid};
    }
  }
  return count;
}

bool is_gone(int error) { return error == EPIPE || error == ECONNRESET || error == ENOTCONN; }

}  // namespace

std::optional<std::pair<UnixSocket, UnixSocket>> UnixSocket::pair(SystemFault& fault) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    fault = SystemFault::of("socketpair");
    return std::nullopt;
  }
  return std::pair(UnixSocket(Descriptor(ends[0])), UnixSocket(Descriptor(ends[1])));
}

UnixSocket::Sent UnixSocket::send(std::span<const std::byte> record, int descriptor,
                                  SystemFault& fault) {
  RAY_ASSERT(!record.empty() && record.size() <= kRecordMax);
  iovec bytes{const_cast<std::byte*>(record.data()), record.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message = header_of(bytes, nullptr, 0);
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(part), &descriptor, sizeof descriptor);
  }
  while (::sendmsg(end_.number(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EINTR) continue;
    // ETOOMANYREFS: as many descriptors are under way as this user may have open.
    if (errno == EAGAIN || errno == ETOOMANYREFS || errno == ENOBUFS) return Sent::full;
    if (is_gone(errno)) return Sent::closed;
    fault = SystemFault::of("sendmsg");
    return Sent::fault;
  }
  return Sent::all;
}

UnixSocket::Received UnixSocket::receive(std::span<std::byte> buffer, Record& record,
                                         SystemFault& fault) {
  record = Record();
  Control control;
  iovec bytes{buffer.data(), buffer.size()};
  msghdr message = header_of(bytes, control.bytes.data(), control.bytes.size());
  ssize_t size = -1;
  // A peer that ends without having read all is told of once, before what it had sent.
  for (int resets = 0; resets < 2;) {
    size = ::recvmsg(end_.number(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size >= 0) break;
    if (errno == EAGAIN) return Received::nothing;
    if (errno != EINTR && !is_gone(errno)) {
      fault = SystemFault::of("recvmsg");
      return Received::fault;
    }
    if (errno != EINTR) ++resets;
  }
  if (size < 0) return Received::closed;
  const std::size_t count = take_control(message, record);
  if (count > 1 || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) {
    record = Record();
    return Received::refused;
  }
  if (size == 0) {  // The end; or an empty record, which nobody sends who keeps to the rules.
    record = Record();
    return Received::closed;
  }
  record.size = static_cast<std::size_t>(size);
  return Received::record;
}

bool UnixSocket::identify_senders(SystemFault& fault) {
  const int on = 1;
  if (::setsockopt(end_.number(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0) return true;
  fault = SystemFault::of("setsockopt(SO_PASSCRED)");
  return false;
}

std::optional<PeerProcess> socket_maker(int descriptor, SystemFault& fault) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    fault = SystemFault::of("getsockopt(SO_PEERCRED)");
    return std::nullopt;
  }
  return PeerProcess{peer.pid, peer.uid};
}

bool is_record_socket(int descriptor) noexcept {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof(int);
  if (::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return false;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return false;
  return domain == AF_UNIX && type == SOCK_SEQPACKET;
}

}  // namespace ray::detail
