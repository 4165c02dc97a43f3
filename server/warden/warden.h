// Warden: takes SPAWN, TERM and KILL from the server, gives each attempt a reaper of its own, one
// that has none or a new one, and passes the reapers' reports back. When the server is gone it
// kills everything and ends.
//
// Thread safety: only in a single-threaded process.
#ifndef NURSERY_SERVER_WARDEN_WARDEN_H_
#define NURSERY_SERVER_WARDEN_WARDEN_H_

#include <sys/epoll.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/warden/channel.h"
#include "server/warden/enclosure.h"
#include "server/warden/launch.h"
#include "server/warden/strays.h"
#include "server/warden/survivors.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

struct WardenOptions {
  UniqueFd server;
  std::vector<int> hold_fds;  // kept open here and in every reaper, never used
  Containment containment;
  UniqueFd cgroup;         // containment.cgroup; empty: none
  std::string run_cgroup;  // its path: removed at the end
  std::string instance;    // what the marks of its attempts begin with
  Inherited inherited;
};

// Invariants:
//  1. Every child of this process is a reaper in `reapers_`, or a stray: what a reaper that was
//     killed left behind. Strays are killed. (One that reads for it ends before it goes on.)
//  2. An attempt is over when its reaper has said its last word; that of a reaper that was killed
//     is said here, once it is reaped, its socket read to the end, no stray is left that may be the
//     attempt's, and its cgroup is empty.
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
  struct Reaper {
    uint64_t number = 0;  // unlike a pid never used again
    Channel control;
    pid_t pid = -1;
    uint64_t attempt = kNoAttempt;
    pid_t leader = -1;  // of the attempt
    bool reaped = false;
    bool told_to_end = false;
  };
  static constexpr uint64_t kNoAttempt = ~uint64_t{0};
  using Reapers = std::unordered_map<uint64_t, Reaper>;

  bool Finished() const;
  int Timeout() const;
  void UpdateInterest();
  void ReadServer();
  void Handle(ReceivedPacket received);
  void Spawn(ReceivedPacket received);
  // One without an attempt; null with errno set if there is none and none can be started.
  Reaper* IdleReaper();
  Reaper* StartReaper();
  [[noreturn]] void BecomeReaper(UniqueFd control);
  Reaper* ReaperOf(uint64_t attempt);
  void RefuseSpawn(uint64_t attempt, Step step, int error);
  void Terminate(uint64_t attempt);
  void Kill(uint64_t attempt);
  void EndReaper(Reaper* reaper);
  void End();
  void ReadReapers();
  void ReadReaper(Reaper* reaper);
  void EndAttempt(Reaper* reaper);
  void ReapChildren();
  void ForgetIfOver(Reapers::iterator reaper);
  void BeginSweep();
  void SweepStrays();
  void SendStats();

  // Constant after construction.
  const std::vector<int> hold_fds_;
  const Containment containment_;
  const UniqueFd cgroup_;
  const std::string run_cgroup_;
  const std::string instance_;
  const Inherited inherited_;
  UniqueFd events_;         // epoll over the server, the signals and reaper_events_
  UniqueFd reaper_events_;  // epoll over the reapers' sockets
  UniqueFd signals_;

  Channel server_;
  Reapers reapers_;  // by their number
  uint64_t next_reaper_ = 0;
  std::unordered_map<pid_t, uint64_t> reaper_pids_;  // of those that are not reaped
  std::unordered_map<uint64_t, uint64_t> attempts_;  // the reaper of each
  std::vector<uint64_t> idle_;                       // reapers
  // Attempts whose reaper was killed.
  struct Lost {
    uint64_t attempt;
    pid_t leader;
    std::chrono::steady_clock::time_point since;
    bool slow;  // when it was looked at last: what lives since then is worth telling
    ToldSurvivors told;
  };
  bool KillLost(const Lost& lost, GroupView* view, std::vector<ProcessInfo>* alive) const;
  void TellEscaped(uint64_t attempt, GroupView* view);
  bool IsOver(const std::vector<Stray>& strays, GroupView* view, Lost* lost);
  std::vector<Lost> lost_;
  bool sweeping_ = false;  // a reaper was killed, and strays may be left
  std::chrono::steady_clock::time_point last_loss_;
  std::chrono::steady_clock::time_point next_sweep_;
  bool ending_ = false;
  bool reading_ = true;  // see invariant 3
  uint32_t server_interest_ = EPOLLIN;
  Counters counters_;
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_WARDEN_H_
