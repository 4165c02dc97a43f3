// Tree: the state of one running job. Every change of it is a step through the state table, logged
// before anything follows from it.
//
// Invariants:
//  1. A node's status changes only in Step, by the state table.
//  2. Closing is atomic: when Close returns, no node below can start, at any depth.
//  3. Contexts are cancelled after the state says why, outside of the lock.
//
// Thread safety: any thread.
#ifndef NURSERY_SERVER_ENGINE_TREE_H_
#define NURSERY_SERVER_ENGINE_TREE_H_

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nursery/core/clock.h"
#include "nursery/core/mutex.h"
#include "nursery/v1/event.pb.h"
#include "server/engine/engine_stats.h"
#include "server/engine/escapees.h"
#include "server/engine/node.h"
#include "server/engine/output_tap.h"
#include "server/engine/store.h"

namespace nursery::engine {

// A cancel that has closed its subtree; constant from then on.
struct CancelRecord {
  v1::CancelReceipt request;             // what was known when it was asked
  std::shared_ptr<Teardowns> teardowns;  // null: it had ended already, and `request` says all
  Time asked{};
};

class Tree {
 public:
  // `clock` gives steady time; `stats` outlives the tree.
  // `all`: rings for every event of every tree; outlives them.
  Tree(std::string id, std::shared_ptr<const spec::Job> job, const Clock& clock,
       std::shared_ptr<EventLog> log, Bells& all, EngineStats& stats);

  const std::string& id() const { return id_; }
  const spec::Job& job() const { return *job_; }
  const Clock& clock() const { return clock_; }
  EngineStats& stats() const { return stats_; }
  Node& root() { return root_; }

  // Opens the root: from now on a job can only end, never be skipped. `deadline` is for the log.
  void Admit(Time deadline);

  // A node's life, each by its runner. Start is false when the node was closed before.
  bool Start(Node& node) NURSERY_EXCLUDES(mutex_);
  void Enter(Node& node, Phase phase, v1::WaitReason wait, std::string object = "")
      NURSERY_EXCLUDES(mutex_);
  // From now on closing the node cancels `work`. False when it has been closed before.
  bool BindWork(Node& node, std::shared_ptr<const CancelScope> work) NURSERY_EXCLUDES(mutex_);
  void ReleaseWork(Node& node) NURSERY_EXCLUDES(mutex_);
  // As BindWork, for KILL; cancelled at once when that has come already.
  void BindKill(Node& node, std::shared_ptr<const CancelScope> kill) NURSERY_EXCLUDES(mutex_);
  // An attempt starts; its number, from 1.
  int StartAttempt(Node& node) NURSERY_EXCLUDES(mutex_);
  // From SIGTERM to SIGKILL: the node's own, or that of the cancel that takes it down.
  Duration GraceOf(const Node& node) const NURSERY_EXCLUDES(mutex_);
  // What the running attempt writes.
  void SetOutput(Node& node, std::shared_ptr<const Output> output,
                 std::shared_ptr<const Output> errors) NURSERY_EXCLUDES(mutex_);
  void EndAttempt(Node& node, const ActionResult& result, v1::AttemptState state)
      NURSERY_EXCLUDES(mutex_);
  void ScheduleRetry(Node& node, bool interrupted, Duration backoff) NURSERY_EXCLUDES(mutex_);
  // Decides `node` by `event` and closes all below. False when it was decided before.
  bool Decide(Node& node, EventKind event, v1::Cause cause) NURSERY_EXCLUDES(mutex_);
  // A failure with its text for the job's list of errors.
  bool Fail(Node& node, EventKind event, const absl::Status& status, int attempt,
            std::string stderr_tail) NURSERY_EXCLUDES(mutex_);
  void StartFinally(Node& node) NURSERY_EXCLUDES(mutex_);
  // `killed`: KILL came before it had done its work.
  void EndFinally(Node& node, const ActionResult& result, const absl::Status& status, bool killed)
      NURSERY_EXCLUDES(mutex_);
  // It is owed, and KILL says not to run it.
  void SkipFinally(Node& node) NURSERY_EXCLUDES(mutex_);
  // All that the node started is gone and its `finally` has ended: it gets its final state.
  void Finish(Node& node) NURSERY_EXCLUDES(mutex_);

  // Closes what `record` says and all below, for whoever asks from outside, and adds to it what was
  // closed and when. ALREADY_EXISTS: it has ended; NOT_FOUND: no such live node. The caller rings
  // and cancels the scopes afterwards.
  struct Closing {
    std::shared_ptr<const CancelScope> work;               // null: its task has not started
    std::vector<std::shared_ptr<const CancelScope>> kill;  // for Teardown::kKill
  };
  absl::StatusOr<Closing> Close(const std::shared_ptr<CancelRecord>& record, EventKind event,
                                Teardown teardown, CountsAs counts_as,
                                std::optional<Duration> grace) NURSERY_EXCLUDES(mutex_);
  // Called with what has closed a node when that has ended. Set before anything runs.
  void OnCancelled(std::function<void(const CancelRecord&)> call) { cancelled_ = std::move(call); }

  // Groups and maps.
  void OpenGroup(Node& group, BellSender bell) NURSERY_EXCLUDES(mutex_);
  std::vector<Node*> TakeEnded(Node& group) NURSERY_EXCLUDES(mutex_);
  // `keep_outputs`: somebody will read the outputs of its items.
  void OpenMap(Node& map, std::shared_ptr<const spec::ItemSet> items, bool keep_outputs)
      NURSERY_EXCLUDES(mutex_);
  // The next item to run; -1: none is left or the map is closed.
  int64_t TakeItem(Node& map) NURSERY_EXCLUDES(mutex_);
  void AddItem(Node& map, Node& item) NURSERY_EXCLUDES(mutex_);
  void RemoveItem(Node& map, Node& item) NURSERY_EXCLUDES(mutex_);

  // Nothing runs any more: what was kept for siblings goes. Gives the bytes that outputs still
  // take.
  size_t LetGo() NURSERY_EXCLUDES(mutex_);

  // Reads or changes nodes under the lock. `visit` must not call the tree.
  template <class Visit>
  auto Locked(Visit visit) const NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return visit();
  }
  // How many nodes (items apart) are in each state; where the job's time went.
  std::array<int64_t, 8> Counts() const NURSERY_EXCLUDES(mutex_);
  std::array<Duration, kPhases> Spent() const NURSERY_EXCLUDES(mutex_);
  std::vector<v1::NodeError> Errors(int64_t* count) const NURSERY_EXCLUDES(mutex_);
  int64_t last_seq() const NURSERY_EXCLUDES(mutex_);
  int64_t tolerated() const NURSERY_EXCLUDES(mutex_);
  // Items of maps that have ended, by state.
  v1::StateCounts ItemCounts() const NURSERY_EXCLUDES(mutex_);
  // The semaphores that nodes noticeably waited for, the longest wait first.
  std::vector<std::string> WaitedFor() const NURSERY_EXCLUDES(mutex_);

  const std::shared_ptr<EventLog>& log() const { return log_; }
  // They ring whenever an event was logged.
  const std::shared_ptr<Bells>& bells() const { return bells_; }
  // What its attempts have left alive.
  const std::shared_ptr<Escapees>& escapees() const { return escapees_; }
  void Ring() {
    bells_->Ring();
    all_.Ring();
  }
  // From now on attempts are told to `tap`. Before the first one starts.
  void Tap(std::shared_ptr<OutputTap> tap) NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    tap_ = std::move(tap);
  }
  v1::Cause MakeCause(EventKind event, const Node& node, std::string reason) const;
  void Log(v1::Event event) NURSERY_EXCLUDES(mutex_);

 private:
  // What a closing hands down.
  struct Told {
    std::shared_ptr<const v1::Cause> cause;
    std::shared_ptr<Teardowns> teardowns;
  };
  bool Step(Node& node, EventKind event, const Told& told) NURSERY_REQUIRES(mutex_);
  bool StepAndCount(Node& node, EventKind event, const Told& told) NURSERY_REQUIRES(mutex_);
  bool DecideLocked(Node& node, EventKind event, const Told& told) NURSERY_REQUIRES(mutex_);
  void CloseBelow(Node& node, EventKind event, const Told& told) NURSERY_REQUIRES(mutex_);
  void CountDeadline(const Node& node, EventKind event) NURSERY_REQUIRES(mutex_);
  void LogDecision(const Node& node, const Told& told) NURSERY_REQUIRES(mutex_);
  void LogEnd(const Node& node) NURSERY_REQUIRES(mutex_);
  void SkipItems(Node& map, const Told& told) NURSERY_REQUIRES(mutex_);
  static void Adopt(Node& node, const Told& told);
  static void CollectKill(Node& node, Closing& closing);
  void LogCancel(const Node& node, const CancelRecord& record, Teardown teardown,
                 std::optional<Duration> grace) NURSERY_REQUIRES(mutex_);
  void OnEnded(Node& node) NURSERY_REQUIRES(mutex_);
  void OnItemEnded(Node& item, bool tolerated) NURSERY_REQUIRES(mutex_);
  // What came down to the node, with what it is to the node itself.
  static v1::Cause OwnCause(const Node& node);
  static void KeepItem(const Node& item);
  static size_t LetGoBelow(Node& node);
  static void CollectRunning(const Node& node, v1::NodeError* error);
  void SetPhase(Node& node, Phase phase) NURSERY_REQUIRES(mutex_);
  void Append(v1::Event event) NURSERY_REQUIRES(mutex_);
  void FlushItems(Node& map, bool all) NURSERY_REQUIRES(mutex_);

  const std::string id_;
  const std::shared_ptr<const spec::Job> job_;
  const Clock& clock_;
  const std::shared_ptr<EventLog> log_;
  Bells& all_;
  EngineStats& stats_;

  std::function<void(const CancelRecord&)> cancelled_;

  mutable Mutex mutex_;
  Node root_;
  // Who has closed it, by node that has not ended yet.
  std::map<const Node*, std::shared_ptr<const CancelRecord>> cancels_ NURSERY_GUARDED_BY(mutex_);
  int64_t seq_ NURSERY_GUARDED_BY(mutex_) = 0;
  std::array<int64_t, 8> counts_ NURSERY_GUARDED_BY(mutex_){};
  // By node: how many are below it, items and what is below them apart. Constant.
  std::vector<int64_t> unopened_;
  int64_t tolerated_ NURSERY_GUARDED_BY(mutex_) = 0;
  std::array<int64_t, 8> item_counts_ NURSERY_GUARDED_BY(mutex_){};
  int64_t item_tolerated_ NURSERY_GUARDED_BY(mutex_) = 0;
  // Nodes by phase, and how long the job's most advanced phase was which.
  std::array<int64_t, kPhases> in_phase_ NURSERY_GUARDED_BY(mutex_){};
  std::array<Duration, kPhases> spent_ NURSERY_GUARDED_BY(mutex_){};
  Time spent_until_ NURSERY_GUARDED_BY(mutex_);
  // Over all nodes, by semaphore.
  std::map<std::string, Duration> waited_for_ NURSERY_GUARDED_BY(mutex_);
  std::vector<v1::NodeError> errors_ NURSERY_GUARDED_BY(mutex_);
  int64_t error_count_ NURSERY_GUARDED_BY(mutex_) = 0;
  std::shared_ptr<OutputTap> tap_ NURSERY_GUARDED_BY(mutex_);  // null: nobody reads along

  const std::shared_ptr<Bells> bells_ = std::make_shared<Bells>();
  const std::shared_ptr<Escapees> escapees_ = std::make_shared<Escapees>();
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_TREE_H_
