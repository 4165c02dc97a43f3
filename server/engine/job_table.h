// JobTable: the jobs of a server, live ones and those that have ended not long ago. It admits new
// ones, within limits, and runs those that no call is waiting for.
//
// Thread safety: any thread; RunDetached once. Lifetime: outlives RunDetached; the engine outlives
// the table.
// Suspends: RunDetached until its context is cancelled and every job it runs has ended.
//
//   JobTable table(engine, TableLimits());
//   absl::StatusOr<Admitted> admitted = table.Admit(std::move(submission));
//   std::shared_ptr<Job> job = table.Find("01JD9K3M5XW0000000000000000");
#ifndef NURSERY_SERVER_ENGINE_JOB_TABLE_H_
#define NURSERY_SERVER_ENGINE_JOB_TABLE_H_

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/group.h"
#include "nursery/core/mutex.h"
#include "server/engine/engine.h"

namespace nursery::engine {

struct TableLimits {
  TableLimits() = default;

  // Of live jobs. A node costs 400 bytes, a job the bytes of its spec.
  int64_t live_jobs = 10'000;
  int64_t nodes = 1'000'000;
  int64_t bytes = int64_t{1} << 30;
  // Ended jobs are kept until one of these is reached; the oldest goes first. The last is kept
  // whatever its bytes.
  int64_t ended_jobs = 10'000;
  int64_t ended_bytes = int64_t{256} << 20;
  Duration ended_age = std::chrono::minutes(10);
};

struct Submission {
  Submission() = default;

  std::shared_ptr<const spec::Job> spec;
  int64_t spec_bytes = 0;
  std::string spec_digest;
  std::string request_id;  // empty: none was given
  std::string submitter;
  JobOptions options;
};

struct Admitted {
  Admitted() = default;

  std::shared_ptr<Job> job;
  bool is_new = true;  // false: the request was made before
};

// What has happened since the start, for metrics.
struct TableStats {
  TableStats() = default;

  int64_t live = 0;
  int64_t ended = 0;  // kept
  int64_t nodes = 0;  // of live jobs
  int64_t bytes = 0;
  int64_t submitted = 0;
  std::array<int64_t, 8> finished{};  // by NodeState
  int64_t refused_jobs = 0;
  int64_t refused_nodes = 0;
  int64_t refused_bytes = 0;
};

class JobTable {
 public:
  // `give_memory_back` to the system, as the C library can; tests have another.
  JobTable(Engine& engine, TableLimits limits, std::function<void()> give_memory_back = nullptr);
  JobTable(const JobTable&) = delete;
  JobTable& operator=(const JobTable&) = delete;

  // RESOURCE_EXHAUSTED: a limit, with a delay to wait; ALREADY_EXISTS: the request_id was used for
  // another job; UNAVAILABLE: closed. The caller then runs the job, and calls OnEnded, or hands it
  // to RunDetached.
  absl::StatusOr<Admitted> Admit(Submission submission) NURSERY_EXCLUDES(mutex_);
  // The same, but tries again for so long whenever a job has ended. Suspends; a cancelled context
  // ends the wait with the last refusal.
  static Async<absl::StatusOr<Admitted>> AdmitWithin(Context context, JobTable* table,
                                                     Submission submission, Duration patience);
  // Never full: it has a place for every live job.
  absl::Status Detach(std::shared_ptr<Job> job);
  void OnEnded(const std::shared_ptr<Job>& job) NURSERY_EXCLUDES(mutex_);
  // Admits nothing from now on: Live() then has all that there will be.
  void Close() NURSERY_EXCLUDES(mutex_);

  Async<absl::Status> RunDetached(Context context);

  // By id; null: there is none (any more).
  std::shared_ptr<Job> Find(const std::string& id) const NURSERY_EXCLUDES(mutex_);
  // The newest first, from those below `before` (empty: from the newest).
  std::vector<std::shared_ptr<Job>> List(const std::string& before, size_t limit) const
      NURSERY_EXCLUDES(mutex_);
  // The oldest first, from those above `after` (empty: from the oldest).
  std::vector<std::shared_ptr<Job>> ListOldest(const std::string& after, size_t limit) const
      NURSERY_EXCLUDES(mutex_);
  std::vector<std::shared_ptr<Job>> Live() const NURSERY_EXCLUDES(mutex_);
  // Live jobs, and those that ended after the call that gave `mark`; gives the next mark. Mark 0:
  // live ones only.
  std::vector<std::shared_ptr<Job>> Changes(uint64_t* mark) const NURSERY_EXCLUDES(mutex_);
  TableStats Stats() const NURSERY_EXCLUDES(mutex_);
  TableLimits Limits() const NURSERY_EXCLUDES(mutex_);
  // For what is admitted and what ends from now on.
  void SetLimits(const TableLimits& limits) NURSERY_EXCLUDES(mutex_);
  Engine& engine() { return engine_; }

 private:
  struct Entry {
    std::shared_ptr<Job> job;
    std::string request;  // of its submitter; empty: none
    std::string digest;
    int64_t bytes = 0;  // of its spec; from its end on about what it takes of memory
    bool ended = false;
  };
  struct Ended {
    std::string id;
    Time at;
    uint64_t number;  // from 1, in the order of the ends
    Time pack_at;     // kNever: it is packed, or too small for that
  };
  // Destroyed by whoever forgets them, unlocked: that takes its time.
  using Forgotten = std::vector<std::shared_ptr<Job>>;

  JobTable(Engine& engine, TableLimits limits, std::function<void()> give_memory_back,
           std::pair<Sender<std::shared_ptr<Job>>, Receiver<std::shared_ptr<Job>>> detaching);
  absl::Status CheckLimits(const Submission& submission) NURSERY_REQUIRES(mutex_);
  void Forget(const std::string& id, Forgotten* forgotten) NURSERY_REQUIRES(mutex_);
  void ForgetOld(Time now, Forgotten* forgotten) NURSERY_REQUIRES(mutex_);
  // What is done behind the jobs' backs, on a thread for blocking calls.
  struct Chore {
    Chore() = default;

    std::shared_ptr<Job> pack;  // null: none
    bool trim = false;          // give freed memory back to the system
    Forgotten forgotten;        // to be destroyed
    Time due = kNever;          // of the next one, when there is none yet
  };
  // Packs large jobs some time after their end, and forgets what is too old, until the context is
  // cancelled.
  static Async<absl::Status> DoChores(Context own, JobTable* table, Context context);
  Chore NextChore() NURSERY_EXCLUDES(mutex_);
  void Do(Chore chore) NURSERY_EXCLUDES(mutex_);
  void OnPacked(const std::shared_ptr<Job>& job) NURSERY_EXCLUDES(mutex_);
  void OnNotPacked(const std::shared_ptr<Job>& job) NURSERY_EXCLUDES(mutex_);
  void AddFreed(int64_t bytes, Time now) NURSERY_REQUIRES(mutex_);
  static Async<absl::Status> ReceiveJobs(Group& group, JobTable* table, Context context);
  static Async<absl::Status> RunOne(Context context, JobTable* table, std::shared_ptr<Job> job);

  Engine& engine_;
  const std::function<void()> give_memory_back_;
  Sender<std::shared_ptr<Job>> detach_;
  Receiver<std::shared_ptr<Job>> detached_;
  mutable Mutex mutex_;
  TableLimits limits_ NURSERY_GUARDED_BY(mutex_);
  bool closed_ NURSERY_GUARDED_BY(mutex_) = false;
  std::map<std::string, Entry> entries_ NURSERY_GUARDED_BY(mutex_);  // by id, which is by time
  std::map<std::string, std::string> requests_ NURSERY_GUARDED_BY(mutex_);  // to ids
  std::deque<Ended> ended_ NURSERY_GUARDED_BY(mutex_);                      // the oldest first
  uint64_t last_ended_ NURSERY_GUARDED_BY(mutex_) = 0;
  int64_t ended_bytes_ NURSERY_GUARDED_BY(mutex_) = 0;
  TableStats stats_ NURSERY_GUARDED_BY(mutex_);
  // About so much was freed since memory was given back; when there is enough, when to.
  int64_t freed_ NURSERY_GUARDED_BY(mutex_) = 0;
  Time trim_at_ NURSERY_GUARDED_BY(mutex_) = kNever;
  Time no_trim_until_ NURSERY_GUARDED_BY(mutex_){};
  Bells room_;    // rings when a job has ended
  Bells chores_;  // rings when there is one
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_JOB_TABLE_H_
