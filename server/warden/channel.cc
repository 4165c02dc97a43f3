#include "server/warden/channel.h"

#include <sys/socket.h>

#include <algorithm>
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

iovec BytesOf(const Packet& packet) { return {const_cast<Packet*>(&packet), sizeof(packet)}; }

bool SendMessage(int fd, std::span<iovec> packets, std::span<const int> fds) {
  FdBuffer buffer = {};
  msghdr header = {};
  header.msg_iov = packets.data();
  header.msg_iovlen = packets.size();
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

bool SendPacket(int fd, const Packet& packet, std::span<const int> fds) {
  iovec bytes = BytesOf(packet);
  return SendMessage(fd, std::span(&bytes, 1), fds);
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
  while (!queue_.empty()) {
    std::array<iovec, kMaxPacketsAtOnce> packets;
    const size_t count = std::min(queue_.size(), packets.size());
    for (size_t i = 0; i < count; ++i) packets[i] = BytesOf(queue_[i]);
    if (!SendMessage(fd_.get(), std::span(packets).first(count), {})) return;
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(count));
  }
}

bool Channel::TrySend(const Packet& packet, std::span<const int> fds) {
  return queue_.empty() && SendPacket(fd_.get(), packet, fds);
}

void Channel::ShutdownSending() { shutdown(fd_.get(), SHUT_WR); }

Channel::Result Channel::Receive(ReceivedPacket* received) {
  *received = ReceivedPacket();
  if (!has_received()) {
    const Result result = ReadSocket(received);
    if (result != Result::kPacket) return result;
  }
  received->packet = received_[next_++];
  return Result::kPacket;
}

Channel::Result Channel::ReadSocket(ReceivedPacket* received) {
  // What is longer than a message may be is cut off, and told by a flag.
  iovec data = {received_.data(), sizeof(received_)};
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
  const auto bytes = static_cast<size_t>(size);
  if ((header.msg_flags & MSG_TRUNC) != 0 || bytes % sizeof(Packet) != 0) return Result::kMalformed;
  next_ = 0;
  count_ = bytes / sizeof(Packet);
  return Result::kPacket;
}

}  // namespace nursery::warden
