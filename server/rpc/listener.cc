#include "server/rpc/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "nursery/core/status.h"

namespace nursery::rpc {
namespace {

constexpr int kBacklog = 512;

absl::Status Taken(const std::string& address) {
  return Error(absl::StatusCode::kAlreadyExists,
               "another server listens on " + address + "; stop it, or name another --listen");
}

// Whether somebody accepts connections there.
bool Answers(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool answers =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN;
  close(probe);
  return answers;
}

bool IsLoopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) != 0;
}

std::string AddressOf(int fd) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size);
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  getnameinfo(reinterpret_cast<sockaddr*>(&storage), size, host, sizeof host, port, sizeof port,
              NI_NUMERICHOST | NI_NUMERICSERV);
  const bool v6 = storage.ss_family == AF_INET6;
  return (v6 ? "[" : "") + std::string(host) + (v6 ? "]:" : ":") + port;
}

}  // namespace

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      address_(std::move(other.address_)),
      path_(std::exchange(other.path_, "")),
      is_loopback_(other.is_loopback_) {}

Listener::~Listener() {
  if (fd_ < 0) return;
  if (!path_.empty()) unlink(path_.c_str());
  close(fd_);
}

absl::StatusOr<Listener> Listener::Open(const std::string& address) {
  constexpr std::string_view kUnix = "unix:";
  if (address.starts_with(kUnix)) return OpenUnix(address.substr(kUnix.size()));
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "--listen " + address + ": must be unix:PATH or HOST:PORT");
  }
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return OpenTcp(host, address.substr(colon + 1));
}

absl::StatusOr<Listener> Listener::OpenUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "the path of a unix socket has 1 to 107 bytes, not " +
                     std::to_string(path.size()) + ": " + path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  std::error_code made;
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (!parent.empty() && std::filesystem::create_directories(parent, made)) {
    chmod(parent.c_str(), 0700);
  }
  // What a killed server left behind refuses connections; a living one takes them.
  if (Answers(address)) return Taken("unix:" + path);
  if (errno == ECONNREFUSED) unlink(path.c_str());
  Listener listener;
  listener.fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // Nobody else may connect, from the first moment on.
  const mode_t mask = umask(0177);
  const int bound = bind(listener.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(mask);
  if (bound != 0 || listen(listener.fd_, kBacklog) != 0) {
    if (error == EADDRINUSE) return Taken("unix:" + path);
    return ErrnoError(error, "cannot listen on unix:" + path);
  }
  listener.path_ = path;
  listener.address_ = "unix:" + path;
  return listener;
}

absl::StatusOr<Listener> Listener::OpenTcp(const std::string& host, const std::string& port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); failed != 0) {
    return Error(absl::StatusCode::kInvalidArgument,
                 "cannot listen on " + host + ":" + port + ": " + gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  Listener listener;
  listener.fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(listener.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener.fd_, found->ai_addr, found->ai_addrlen) != 0 ||
      listen(listener.fd_, kBacklog) != 0) {
    if (errno == EADDRINUSE) return Taken(host + ":" + port);
    return ErrnoError(errno, "cannot listen on " + host + ":" + port);
  }
  listener.address_ = AddressOf(listener.fd_);
  listener.is_loopback_ = IsLoopback(found->ai_addr);
  return listener;
}

}  // namespace nursery::rpc
