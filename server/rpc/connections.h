// Connections: accepts clients and hands them to gRPC, up to a limit in total and for each peer.
//
// gRPC's own listener is dead for good after one EMFILE. This one keeps a spare descriptor: at the
// limit it accepts, closes at once, and goes on.
//
// Thread safety: Accept by one task for each listener; open() from any thread.
// Suspends: Accept until its context is cancelled. Resumes on: the executor.
#ifndef NURSERY_SERVER_RPC_CONNECTIONS_H_
#define NURSERY_SERVER_RPC_CONNECTIONS_H_

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>
#include <unordered_map>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/mutex.h"
#include "server/rpc/listener.h"

namespace nursery::rpc {

struct ConnectionLimits {
  int64_t total = 4096;
  int64_t per_peer = 256;  // by IP address; unix sockets only count in total
};

class Connections {
 public:
  explicit Connections(ConnectionLimits limits);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Hands each new descriptor to `take`, which owns it from then on.
  Async<absl::Status> Accept(Context context, const Listener* listener,
                             std::function<void(int listener_fd, int fd)> take);

  // Those that are open stay.
  void SetLimits(ConnectionLimits limits) NURSERY_EXCLUDES(mutex_);

  // Those that gRPC still has open.
  int64_t open() NURSERY_EXCLUDES(mutex_);
  int64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    ino_t inode;
    std::string peer;
  };

  // One connection, if there is one. False: nobody is waiting.
  bool AcceptOne(const Listener& listener, const std::function<void(int, int)>& take);
  bool Admit(int fd, const std::string& peer) NURSERY_EXCLUDES(mutex_);
  void ForgetClosed() NURSERY_REQUIRES(mutex_);

  int spare_;
  std::atomic<int64_t> refused_{0};
  Mutex mutex_;
  ConnectionLimits limits_ NURSERY_GUARDED_BY(mutex_);
  // By descriptor. gRPC does not tell when it closes one; a descriptor that now is another socket,
  // or none, was closed.
  std::unordered_map<int, Entry> entries_ NURSERY_GUARDED_BY(mutex_);
  std::unordered_map<std::string, int64_t> by_peer_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_CONNECTIONS_H_
