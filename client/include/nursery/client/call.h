// How a client reaches its server, and what bounds a call: a timeout, and a handle that cancels it
// from another thread.
//
// Thread safety: Canceller any thread; the rest are plain values.
//
//   Canceller canceller;
//   CallOptions call(std::chrono::seconds(30));
//   call.canceller = canceller;
//   std::thread stop([canceller] { WaitForCtrlC(); canceller.Cancel(); });
//   absl::Status watched = client->Watch(job, WatchOptions(), handlers, call);
#ifndef NURSERY_CLIENT_CALL_H_
#define NURSERY_CLIENT_CALL_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "nursery/core/clock.h"

namespace nursery::client {

struct ConnectOptions {
  ConnectOptions() = default;

  std::string address;      // "unix:PATH" or "HOST:PORT"
  std::string token_file;   // for TCP; empty: no token is sent
  std::string tls_ca_file;  // for TCP with TLS: who signed the server's certificate; empty: no TLS
  // For a server that asks its clients for a certificate: it and its key in PEM, both or neither.
  std::string tls_certificate_file;
  std::string tls_key_file;
  // A server that is there answers at once.
  Duration timeout = std::chrono::seconds(3);
};

namespace internal {
class CancelState;
}

// Cancels calls, those that run with it and those that start with it later. Copies are the same
// handle.
class Canceller {
 public:
  Canceller();

  // The calls return CANCELLED, soon. May be called from a handler of such a call.
  void Cancel() const;
  bool cancelled() const;

  internal::CancelState& state() const { return *state_; }

 private:
  std::shared_ptr<internal::CancelState> state_;
};

struct CallOptions {
  CallOptions() = default;
  explicit CallOptions(Duration the_timeout) : timeout(the_timeout) {}

  std::optional<Duration> timeout;  // unset: none
  std::optional<Canceller> canceller;
};

}  // namespace nursery::client

#endif  // NURSERY_CLIENT_CALL_H_
