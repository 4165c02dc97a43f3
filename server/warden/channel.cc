#include "server/warden/channel.h"

#include <sys/socket.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace nursery::warden {
namespace {

union FdBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * kMaxPassedFds)];
};

bool SendPacket(int fd, const Packet& packet, std::span<const int> fds) {
  iovec data = {const_cast<Packet*>(&packet), sizeof(packet)};
  FdBuffer buffer = {};
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = buffer.bytes;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(control), fds.data(), fds.size_bytes());
  }
  while (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EINTR) continue;
    // ETOOMANYREFS: descriptors in flight are at the limit until the peer reads. Any other error
    // means that the peer is dead, so that nobody misses the packet.
    return errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM && errno != ETOOMANYREFS;
  }
  return true;
}

void TakeFds(const msghdr& header, ReceivedPacket* received) {
  auto* mutable_header = const_cast<msghdr*>(&header);
  for (cmsghdr* control = CMSG_FIRSTHDR(mutable_header); control != nullptr;
       control = CMSG_NXTHDR(mutable_header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && received->fd_count < kMaxPassedFds; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      received->fds[received->fd_count++] = UniqueFd(fd);
    }
  }
  received->fds_lost = (header.msg_flags & MSG_CTRUNC) != 0;
}

}  // namespace

bool HasAllFds(const ReceivedPacket& spawn) {
  const auto stdio = static_cast<unsigned>(spawn.packet.flags) & 7u;
  return spawn.fd_count == 1u + static_cast<size_t>(std::popcount(stdio));
}

void Channel::Send(const Packet& packet) {
  if (queue_.empty() && SendPacket(fd_.get(), packet, {})) return;
  queue_.push_back(packet);
}

void Channel::Flush() {
  while (!queue_.empty() && SendPacket(fd_.get(), queue_.front(), {})) queue_.pop_front();
}

bool Channel::TrySend(const Packet& packet, std::span<const int> fds) {
  return queue_.empty() && SendPacket(fd_.get(), packet, fds);
}

void Channel::ShutdownSending() { shutdown(fd_.get(), SHUT_WR); }

Channel::Result Channel::Receive(ReceivedPacket* received) {
  *received = ReceivedPacket();
  // One byte more than a packet, so that a longer packet is seen as malformed.
  char bytes[sizeof(Packet) + 1];
  iovec data = {bytes, sizeof(bytes)};
  FdBuffer buffer;
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = buffer.bytes;
  header.msg_controllen = sizeof(buffer.bytes);
  ssize_t size;
  do {
    size = recvmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    // ECONNRESET comes once, before what the dead peer had sent: read on.
  } while (size < 0 && (errno == EINTR || errno == ECONNRESET));
  if (size < 0) {
    const bool empty = errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
    return empty ? Result::kEmpty : Result::kClosed;
  }
  if (size == 0) return Result::kClosed;
  TakeFds(header, received);
  if (size != sizeof(Packet)) return Result::kMalformed;
  std::memcpy(&received->packet, bytes, sizeof(Packet));
  return Result::kPacket;
}

}  // namespace nursery::warden
