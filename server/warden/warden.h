// Warden: takes SPAWN, TERM and KILL from the server, gives each attempt a reaper of its own and
// passes the reapers' reports back. When the server is gone it kills everything and ends.
//
// Thread safety: only in a single-threaded process.
#ifndef NURSERY_SERVER_WARDEN_WARDEN_H_
#define NURSERY_SERVER_WARDEN_WARDEN_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "server/warden/channel.h"
#include "server/warden/launch.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

struct WardenOptions {
  UniqueFd server;
  std::vector<int> hold_fds;  // kept open here and in every reaper, never used
  Level level = Level::kNone;
  Inherited inherited;
};

// Invariants:
//  1. Every child of this process is a reaper in `reapers_`, or a stray: what a reaper that was
//     killed left behind. Strays are killed.
//  2. An attempt is forgotten only when its reaper is reaped and its socket read to the end.
//  3. A server that does not read costs bounded memory: above a limit of queued packets the warden
//     stops reading, from the server and from the reapers, whose reports wait in their sockets. It
//     goes on reaping, and so do they.
class Warden {
 public:
  // Requires: all signals are blocked, the process is a subreaper.
  explicit Warden(WardenOptions options);

  // Serves until the server is gone (or asked for DRAIN) and nothing is left alive.
  void Run();

 private:
  struct Attempt {
    Channel control;
    pid_t reaper = -1;
    bool reaped = false;
    bool finished = false;  // its last word is said
  };
  using Attempts = std::unordered_map<uint64_t, Attempt>;

  bool Finished() const;
  int Timeout() const;
  void UpdateInterest();
  void ReadServer();
  void Handle(ReceivedPacket received);
  void Spawn(ReceivedPacket received);
  [[noreturn]] void BecomeReaper(ReceivedPacket received, UniqueFd control);
  void RefuseSpawn(uint64_t attempt, Step step, int error);
  void Terminate(uint64_t attempt);
  void Kill(uint64_t attempt);
  void End();
  void ReadReapers();
  void ReadReaper(uint64_t id, Attempt* attempt);
  void ReapChildren();
  void ForgetIfOver(Attempts::iterator attempt);
  void BeginSweep();
  void SweepStrays();
  void SendStats();

  // Constant after construction.
  const std::vector<int> hold_fds_;
  const Level level_;
  const Inherited inherited_;
  UniqueFd events_;         // epoll over the server, the signals and reaper_events_
  UniqueFd reaper_events_;  // epoll over the reapers' sockets
  UniqueFd signals_;

  Channel server_;
  Attempts attempts_;
  std::unordered_map<pid_t, uint64_t> reapers_;
  // Attempts whose reaper was killed: gone when no stray is left.
  std::vector<uint64_t> lost_;
  bool sweeping_ = false;  // a reaper was killed, and strays may be left
  std::chrono::steady_clock::time_point sweep_start_;
  bool ending_ = false;
  bool reading_ = true;  // see invariant 3
  Counters counters_;
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_WARDEN_H_
