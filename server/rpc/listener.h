// Listener: a socket that clients connect to. A unix socket has mode 0600 and belongs to the one
// server that listens on it; a TCP port is never shared.
//
// Thread safety: one thread. Lifetime: closing removes the unix socket's file.
//
//   absl::StatusOr<Listener> listener = Listener::Open("unix:/run/nursery/nursery.sock");
//   absl::StatusOr<Listener> port = Listener::Open("127.0.0.1:0");
#ifndef NURSERY_SERVER_RPC_LISTENER_H_
#define NURSERY_SERVER_RPC_LISTENER_H_

#include <string>

#include "absl/status/statusor.h"

namespace nursery::rpc {

class Listener {
 public:
  // "unix:PATH", or "HOST:PORT" with port 0 for a free one. INVALID_ARGUMENT: it is neither;
  // ALREADY_EXISTS: another server listens there.
  static absl::StatusOr<Listener> Open(const std::string& address);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  int fd() const { return fd_; }
  // As clients name it, with the port that was taken.
  const std::string& address() const { return address_; }
  bool is_unix() const { return !path_.empty(); }
  bool is_loopback() const { return is_loopback_; }

 private:
  Listener() = default;
  static absl::StatusOr<Listener> OpenUnix(const std::string& path);
  static absl::StatusOr<Listener> OpenTcp(const std::string& host, const std::string& port);

  int fd_ = -1;
  std::string address_;
  std::string path_;  // of a unix socket
  bool is_loopback_ = false;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_LISTENER_H_
