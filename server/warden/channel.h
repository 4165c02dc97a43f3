// Channel: one non-blocking end of a SOCK_SEQPACKET socket that carries Packets, with a queue for
// what the socket does not take at once. What is queued together travels together, so that the
// other side is woken once.
//
// Thread safety: none; the owner serializes.
// Lifetime: owns its descriptor.
#ifndef NURSERY_SERVER_WARDEN_CHANNEL_H_
#define NURSERY_SERVER_WARDEN_CHANNEL_H_

#include <array>
#include <cstddef>
#include <deque>
#include <span>

#include "server/warden/protocol.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

// The memfd of a spec and the three standard descriptors.
inline constexpr size_t kMaxPassedFds = 4;

// Of one message. Descriptors come with a single one.
inline constexpr size_t kMaxPacketsAtOnce = 8;

struct ReceivedPacket {
  Packet packet;
  UniqueFd fds[kMaxPassedFds];
  size_t fd_count = 0;
  bool fds_lost = false;  // the kernel had no descriptor number left for one of them
};

// Whether it is a SPAWN with the descriptors that its flags promise.
bool HasAllFds(const ReceivedPacket& spawn);

class Channel {
 public:
  enum class Result { kPacket, kEmpty, kMalformed, kClosed };

  explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  bool open() const { return fd_.valid(); }
  void Close() {
    fd_.reset();
    queue_.clear();
  }

  // Sends `packet`, or queues it behind those that wait already. The peer's death is noticed by
  // Receive, not here.
  void Send(const Packet& packet);
  // Leaves it to the next Flush.
  void Queue(const Packet& packet) { queue_.push_back(packet); }
  // Sends what is queued, as far as the socket takes it.
  void Flush();
  size_t queued() const { return queue_.size(); }

  // Sends at once with descriptors, which the kernel duplicates; false if the socket is full,
  // packets are queued, or too many descriptors are under way: try again when it is writable.
  bool TrySend(const Packet& packet, std::span<const int> fds);

  // No more sending from here: the peer reads end of file.
  void ShutdownSending();

  // kClosed: the peer is dead or has shut down its sending side.
  Result Receive(ReceivedPacket* received);
  // Whether it can give a packet that has left the socket already, which then need not be readable.
  bool has_received() const { return next_ < count_; }

 private:
  Result ReadSocket(ReceivedPacket* received);

  UniqueFd fd_;
  std::deque<Packet> queue_;
  std::array<Packet, kMaxPacketsAtOnce> received_;
  size_t next_ = 0;  // of received_
  size_t count_ = 0;
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_CHANNEL_H_
