#include "server/rpc/connections.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "nursery/core/io.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"

namespace nursery::rpc {
namespace {

// When no descriptor is left even for a refusal.
constexpr std::chrono::milliseconds kStarved{100};

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

ino_t InodeOf(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

// The peer's IP address; empty for unix sockets.
std::string PeerOf(int fd) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  char text[INET6_ADDRSTRLEN] = "";
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return text;
  if (storage.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&storage)->sin_addr, text, sizeof text);
  } else if (storage.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr, text, sizeof text);
  }
  return text;
}

}  // namespace

Connections::Connections(ConnectionLimits limits) : spare_(OpenSpare()), limits_(limits) {}

void Connections::SetLimits(ConnectionLimits limits) {
  MutexLock lock(mutex_);
  limits_ = limits;
}

Connections::~Connections() {
  if (spare_ >= 0) close(spare_);
}

Async<absl::Status> Connections::Accept(Context context, const Listener* listener,
                                        std::function<void(int listener_fd, int fd)> take) {
  for (;;) {
    absl::Status ready = co_await ReadReady(context, listener->fd());
    if (!ready.ok()) co_return context.cancelled() ? absl::OkStatus() : ready;
    while (AcceptOne(*listener, take)) {
    }
    if (spare_ >= 0) continue;
    spare_ = OpenSpare();
    absl::Status slept = co_await Sleep(context, kStarved);
    if (!slept.ok()) co_return absl::OkStatus();
  }
}

bool Connections::AcceptOne(const Listener& listener, const std::function<void(int, int)>& take) {
  int fd = accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE) && spare_ >= 0) {
    close(spare_);
    fd = accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) close(fd);
    refused_.fetch_add(1, std::memory_order_relaxed);
    spare_ = OpenSpare();
    return spare_ >= 0;
  }
  if (fd < 0) return errno == ECONNABORTED || errno == EINTR;
  const int on = 1;
  if (!listener.is_unix()) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (Admit(fd, listener.is_unix() ? "" : PeerOf(fd))) {
    take(listener.fd(), fd);
  } else {
    refused_.fetch_add(1, std::memory_order_relaxed);
    close(fd);
  }
  return true;
}

bool Connections::Admit(int fd, const std::string& peer) {
  MutexLock lock(mutex_);
  const auto full = [&]() NURSERY_REQUIRES(mutex_) {
    const auto known = by_peer_.find(peer);
    return static_cast<int64_t>(entries_.size()) >= limits_.total ||
           (!peer.empty() && known != by_peer_.end() && known->second >= limits_.per_peer);
  };
  if (full()) ForgetClosed();
  if (full()) return false;
  // The number of a closed one may be taken again at once.
  const auto [entry, is_new] = entries_.try_emplace(fd, Entry{InodeOf(fd), peer});
  if (!is_new) {
    if (--by_peer_[entry->second.peer] == 0) by_peer_.erase(entry->second.peer);
    entry->second = Entry{InodeOf(fd), peer};
  }
  ++by_peer_[peer];
  return true;
}

void Connections::ForgetClosed() {
  std::erase_if(entries_, [this](const auto& each) NURSERY_REQUIRES(mutex_) {
    const auto& [fd, entry] = each;
    if (InodeOf(fd) == entry.inode) return false;
    if (--by_peer_[entry.peer] == 0) by_peer_.erase(entry.peer);
    return true;
  });
}

int64_t Connections::open() {
  MutexLock lock(mutex_);
  ForgetClosed();
  return static_cast<int64_t>(entries_.size());
}

}  // namespace nursery::rpc
