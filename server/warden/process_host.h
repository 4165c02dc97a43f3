// ProcessHost: runs task processes through a warden that it starts, watches and replaces.
//
// Every accepted Spawn ends in exactly one of OnSpawnFailed, OnGone and OnLost; when it comes, no
// process of that attempt is alive.
//
// Thread safety: Spawn, Terminate, Kill, Stop, stopped and stats from any thread; OnReadable from
//     one thread at a time. Handlers run inside OnReadable, without a lock held.
// Lifetime: a handler lives until its last call. Destroy the host only when stopped() is true (or
//     Start was never called).
//
//   ProcessHost host({});
//   if (absl::Status status = host.Start(); !status.ok()) return status;
//   absl::StatusOr<AttemptId> id = host.Spawn(spec, std::move(stdio), &handler);
//   host.Stop();
//   while (!host.stopped()) {
//     pollfd readable = {host.fd(), POLLIN, 0};
//     poll(&readable, 1, -1);
//     host.OnReadable();
//   }
#ifndef NURSERY_SERVER_WARDEN_PROCESS_HOST_H_
#define NURSERY_SERVER_WARDEN_PROCESS_HOST_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nursery/core/mutex.h"
#include "nursery/core/semaphore.h"
#include "server/warden/channel.h"
#include "server/warden/process_spec.h"
#include "server/warden/protocol.h"
#include "server/warden/start_warden.h"
#include "server/warden/strays.h"
#include "server/warden/survivors.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

using AttemptId = uint64_t;

// Spawns that may wait for the warden to take them: each has up to four descriptors meanwhile.
inline constexpr size_t kMaxWaitingSpawns = 1024;

struct LeaderExit {
  int wait_status = 0;
  bool killed_by_us = false;  // SIGKILL without it came from elsewhere: mostly the OOM killer
  Usage usage;
};

struct AttemptEnd {
  Level level = Level::kNone;
  uint32_t leftovers = 0;  // alive below the leader when it exited
  Toll toll;
  Usage usage;  // of all processes of the attempt
  MemoryFacts memory;
  TreeLimitSet not_held = 0;  // of the limits that were asked for
  Survivors escaped;          // at the level kGroup: had left its session, and live on
};

class ProcessHandler {
 public:
  virtual ~ProcessHandler() = default;
  virtual void OnSpawned(pid_t pid) = 0;
  virtual void OnExited(const LeaderExit& exit) = 0;
  // SIGKILL was sent and these are alive all the same, and no others that were told before. OnGone
  // follows once none is.
  virtual void OnSurvivors(const Survivors& alive) = 0;
  // Last: the program never ran.
  virtual void OnSpawnFailed(const absl::Status& why) = 0;
  // Last.
  virtual void OnGone(const AttemptEnd& end) = 0;
  // Last: the attempt was interrupted by the death of its warden or its reaper. `escaped` as in
  // AttemptEnd.
  virtual void OnLost(const absl::Status& why, const Survivors& escaped) = 0;
};

// Descriptors for the task's stdin, stdout and stderr; an empty one is /dev/null. They are closed
// here as soon as the warden has them.
struct TaskStdio {
  UniqueFd fds[3];
};

class ProcessHost {
 public:
  struct Options {
    std::string executable;     // of the warden; empty: FindWarden()
    std::vector<int> hold_fds;  // held by warden and reapers until their end; the caller's
    // Makes this process a subreaper that kills and reaps every child it did not start here. Only
    // for a process that has no other children.
    bool adopt_orphans = true;
    // The level of containment; kNone: the highest that works here.
    Level level = Level::kNone;
    // The cgroup below which each warden gets one (MoveAside, FindOwnCgroup); empty: none.
    std::string cgroup;
    // In every process's environment, with the attempt's number (kMarkVariable); empty: one that is
    // made up.
    std::string instance;
    // Where the cgroups of wardens are noted before they are used; empty: nowhere.
    std::string cgroup_record;
  };
  struct Stats {
    Level level = Level::kNone;  // kNone until the warden has said hello
    TreeLimitSet held = 0;       // limits of whole attempts that hold; none until then
    size_t live = 0;             // attempts without their last call
    uint64_t wardens_started = 0;
    uint64_t attempts_lost = 0;
    uint64_t spawned = 0;  // attempts whose program ran
    // Processes that a cancelled attempt's SIGTERM ended, and those that its SIGKILL did.
    uint64_t terminated = 0;
    uint64_t killed = 0;
    uint64_t leftovers = 0;  // alive below a leader that had exited by itself, and killed
  };

  explicit ProcessHost(Options options);
  ~ProcessHost();
  ProcessHost(const ProcessHost&) = delete;
  ProcessHost& operator=(const ProcessHost&) = delete;

  // Also raises this process's limit of descriptors; tasks get the one that it had.
  absl::Status Start();

  // Waits until the warden has tested itself, which takes milliseconds, and says so if that takes
  // longer than `patience`. FAILED_PRECONDITION: the level that is asked for does not work here.
  absl::Status AwaitReady(std::chrono::milliseconds patience);

  // Readable when OnReadable has something to do. Constant from construction on.
  int fd() const { return events_.get(); }
  // Never blocks.
  void OnReadable();

  // RESOURCE_EXHAUSTED when kMaxWaitingSpawns are waiting. Who must not be refused holds one of
  // places() from before until OnSpawned or the last call, and so waits for it where many do.
  absl::StatusOr<AttemptId> Spawn(ProcessSpec spec, TaskStdio stdio, ProcessHandler* handler);
  Semaphore& places() { return places_; }
  // SIGTERM (then SIGCONT) to everything the attempt has started. No effect after its end. An
  // attempt that the warden has not seen yet is never started: it fails as cancelled.
  void Terminate(AttemptId attempt);
  // SIGKILL, until nothing is left; else as Terminate.
  void Kill(AttemptId attempt);

  // Kills all attempts and ends the warden. Twice is safe.
  void Stop();
  bool stopped() const;
  Stats stats() const;
  // Live processes that descend from this one and not from the warden: nobody answers for them.
  // None, but for the moment in which what a dead warden left is killed. Reads /proc.
  size_t CountStrays() const;

 private:
  // A call to a handler, made when the lock is free.
  struct Call {
    absl::AnyInvocable<void()> run;
    bool last = false;  // of its attempt
  };
  struct WaitingSpawn {
    AttemptId attempt;
    ProcessHandler* handler;
    UniqueFd spec;
    TaskStdio stdio;
  };
  // An attempt of a dead warden.
  struct Orphan {
    AttemptId attempt;
    ProcessHandler* handler;
    pid_t leader;            // -1: not known
    pid_t reaper;            // -1: not known, or it has ended
    bool done = false;       // by its reaper
    bool abandoned = false;  // its reaper was killed, so its work is done here
    ToldSurvivors told;
  };
  // What a dead warden leaves: reapers that are still killing, and those who wait for their end.
  struct Remains {
    pid_t warden;      // whose session is that of its reapers, and of nobody else
    UniqueFd keepers;  // end of file: every reaper has ended; closed after that
    std::string run_cgroup;
    std::vector<Orphan> orphans;
    std::chrono::steady_clock::time_point since;
    bool slow = false;  // when it was looked at last: what lives since then is worth telling
  };

  void End(AttemptId attempt, PacketType how);
  absl::Status StartWardenLocked() NURSERY_REQUIRES(mutex_);
  absl::StatusOr<std::string> MakeRunCgroupLocked() NURSERY_REQUIRES(mutex_);
  void SendLocked(PacketType type, AttemptId attempt) NURSERY_REQUIRES(mutex_);
  void SendWaitingLocked() NURSERY_REQUIRES(mutex_);
  bool TrySendLocked(const WaitingSpawn& spawn) NURSERY_REQUIRES(mutex_);
  void WatchSocketLocked() NURSERY_REQUIRES(mutex_);
  void ReadSocketLocked(std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  void HandleLocked(const Packet& packet, std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  void HandleHelloLocked(const Packet& hello, std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  void HandleReportLocked(const Packet& packet, std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  void CountLocked(const Packet& gone) NURSERY_REQUIRES(mutex_);
  void CheckWardenLocked(std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  void LoseLocked(ProcessHandler* handler, const char* why, Survivors escaped,
                  std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  void FailWaitingLocked(const absl::Status& why, std::vector<Call>* calls)
      NURSERY_REQUIRES(mutex_);
  void SweepLocked(bool is_time, std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  bool AdoptsLocked() const NURSERY_REQUIRES(mutex_);
  void LookAtReaperLocked(Orphan* orphan) const NURSERY_REQUIRES(mutex_);
  void AbandonThoseWithoutReaperLocked() NURSERY_REQUIRES(mutex_);
  bool IsReaperLocked(const ProcessInfo& process) const NURSERY_REQUIRES(mutex_);
  bool IsOverLocked(const Remains& remains, const std::vector<Stray>& strays, GroupView* view,
                    Orphan* orphan, std::vector<Call>* calls) NURSERY_REQUIRES(mutex_);
  std::vector<Stray> KillStraysLocked(bool reapers_live) NURSERY_REQUIRES(mutex_);
  void ArmSweepLocked() NURSERY_REQUIRES(mutex_);
  bool KillCgroupsLocked() NURSERY_REQUIRES(mutex_);
  void Wake();

  // Constant after construction.
  const Options options_;
  const UniqueFd events_;  // epoll over everything below that is a descriptor
  const UniqueFd wake_;    // eventfd: there are calls to make
  const UniqueFd sweep_timer_;
  const std::string instance_;  // what the marks of all attempts begin with: the number follows

  // Own synchronization.
  Semaphore places_{kMaxWaitingSpawns};

  // Guarded by mutex_.
  mutable Mutex mutex_;
  rlim_t task_files_ NURSERY_GUARDED_BY(mutex_) = 0;
  WardenProcess warden_ NURSERY_GUARDED_BY(mutex_);
  UniqueFd keepers_
      NURSERY_GUARDED_BY(mutex_);  // a pipe that warden and reapers hold at its other end
  Channel channel_ NURSERY_GUARDED_BY(mutex_){UniqueFd()};
  bool awaits_room_ NURSERY_GUARDED_BY(mutex_) = false;  // of the channel, to send
  std::string run_cgroup_ NURSERY_GUARDED_BY(mutex_);    // the warden's; empty: it has none
  bool hello_ NURSERY_GUARDED_BY(mutex_) = false;
  absl::Status refused_ NURSERY_GUARDED_BY(mutex_);  // why there was no good hello
  bool stopping_ NURSERY_GUARDED_BY(mutex_) = false;
  uint32_t unanswered_ NURSERY_GUARDED_BY(mutex_) = 0;
  std::deque<WaitingSpawn> waiting_ NURSERY_GUARDED_BY(mutex_);
  // Those that were sent to the warden; true as long as the answer to SPAWN is missing.
  struct Sent {
    ProcessHandler* handler;
    bool unanswered;
    pid_t leader = -1;  // once it has been spawned, as the next
    pid_t reaper = -1;
    SurvivorReader survivors;
    Survivors escaped;
  };
  std::unordered_map<AttemptId, Sent> sent_ NURSERY_GUARDED_BY(mutex_);
  std::vector<Remains> remains_ NURSERY_GUARDED_BY(mutex_);
  std::vector<Call> calls_ NURSERY_GUARDED_BY(mutex_);  // made by others than OnReadable
  AttemptId last_attempt_ NURSERY_GUARDED_BY(mutex_) = 0;
  Stats stats_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_PROCESS_HOST_H_
