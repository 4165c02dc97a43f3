// Job: one submitted tree, from admission to its last event and after.
//
// Thread safety: any thread; Run is called once. Lifetime: shared by whoever runs, watches or
// cancels it.
//
//   absl::StatusOr<std::shared_ptr<Job>> job = engine.Admit(spec, JobOptions());
//   co_await (*job)->Run(ctx);
//   Print((*job)->Describe());
#ifndef NURSERY_SERVER_ENGINE_JOB_H_
#define NURSERY_SERVER_ENGINE_JOB_H_

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/v1/event.pb.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/ended_tree.h"
#include "server/engine/escapees.h"
#include "server/engine/node_view.h"
#include "server/engine/runner.h"
#include "server/engine/store.h"
#include "server/engine/tree.h"

namespace nursery::engine {

struct JobOptions {
  JobOptions() = default;

  // Where relative programs and paths start; empty: a fresh directory for each attempt.
  std::string workdir;
  // Where the job says none, and the engine's default is longer.
  Duration default_timeout = Duration::max();
  // Of the caller; the job's own timeout may be earlier.
  Time deadline = kNever;
  std::string submitter;
  std::string spec_digest;
};

struct CancelRequest {
  CancelRequest() = default;

  std::string path;  // empty: the whole job
  std::string reason;
  std::string actor;
  bool kill = false;              // SIGKILL at once, no `finally`
  std::optional<Duration> grace;  // instead of the nodes' own
  bool drain = false;             // because the server stops
  bool call_lost = false;         // because the client that it was attached to has gone
  CountsAs counts_as = CountsAs::kFailure;
};

class Job {
 public:
  // For Engine::Admit.
  Job(std::unique_ptr<Tree> tree, Runtime runtime, JobOptions options, std::string data_dir);

  const std::string& id() const { return id_; }
  const std::string& display_name() const { return display_name_; }
  int64_t node_count() const { return node_count_; }
  const JobOptions& options() const { return options_; }
  // Its own; that of the context it runs in may be earlier.
  Time deadline() const { return deadline_; }

  // Runs the tree in the calling scope: its cancellation and deadline are the job's. Returns when
  // nothing of the job is left.
  Async<void> Run(Context context);

  // Closes admission below the path, before it returns; what runs there is taken down meanwhile.
  // NOT_FOUND: no such node is open. A job that has ended is not an error: `already_ended` says so.
  absl::StatusOr<v1::CancelReceipt> Cancel(const CancelRequest& request);
  // The same for whoever wants to see its receipt again: another cancel has its own.
  absl::StatusOr<std::shared_ptr<const CancelRecord>> StartCancel(const CancelRequest& request);
  // As it stands now; complete once all that was closed has verifiably ended.
  v1::CancelReceipt Receipt(const CancelRecord& record) const;
  // Of the last cancel.
  v1::CancelReceipt LastCancel() const;
  // A cancel is complete within this, or so much later as its own grace is longer.
  Duration max_teardown() const { return max_teardown_; }

  // The resource as it stands.
  v1::Job Describe() const;
  // The tree at and below `path` (nothing: no such node is open), `depth` levels of it or all for
  // 0; the `limit` most urgent lines where there are more.
  std::vector<NodeView> View(size_t limit, const std::string& path = "", int depth = 0) const;
  // Of one node; nothing: it is not open (any more).
  std::optional<NodeView> ViewOf(const std::string& path) const;
  // Of the node, and of all below it, those whose attempts have written. An item that has succeeded
  // is gone.
  std::vector<OutputView> Outputs(const std::string& path, bool below) const;
  // Its own semaphores by rank; and one that its nodes acquire, its own or the server's.
  std::vector<SemaphoreView> Semaphores() const;
  std::optional<SemaphoreView> SemaphoreNamed(const std::string& name) const;
  // Nothing: no such node is open (any more).
  std::optional<NodeState> StateOf(const std::string& path) const;
  // The path leads to a node of the job file, whichever item of a map it names.
  bool Knows(std::string_view path) const;

  // Events with a sequence number above `after`, and a bell that rings for more.
  absl::StatusOr<EventBatch> Events(int64_t after, size_t limit) const;
  BellReceiver Watch() { return bells_->Watch(); }
  void Watch(BellSender bell) { bells_->Add(std::move(bell)); }
  // Reads along with what attempts write. Before Run.
  void Tap(std::shared_ptr<OutputTap> tap);
  // The sequence number of the last event.
  int64_t last_seq() const;
  bool done() const { return IsTerminal(state()); }
  // Its last event has been logged.
  bool closed() const { return closed_.load(); }
  NodeState state() const;
  // How many nodes (items apart) are in each state.
  std::array<int64_t, 8> NodeCounts() const;

  // Keeps of a job that has run what can still be asked of it, in a tenth of the memory. Takes some
  // microseconds for each node.
  void Pack() NURSERY_EXCLUDES(mutex_);
  bool packed() const { return form().live == nullptr; }
  // About what it takes of memory once it has run, in bytes; until it is packed, without its spec.
  size_t size() const NURSERY_EXCLUDES(mutex_);

 private:
  // Until it is packed.
  struct Live {
    Live(std::unique_ptr<Tree> the_tree, Runtime the_runtime)
        : tree(std::move(the_tree)), runtime(std::move(the_runtime)) {}

    const std::unique_ptr<Tree> tree;
    Runtime runtime;
  };
  // One of the two.
  struct Form {
    std::shared_ptr<Live> live;
    std::shared_ptr<const EndedTree> ended;
  };

  Form form() const NURSERY_EXCLUDES(mutex_);
  v1::Job DescribeLive(const Live& live) const NURSERY_EXCLUDES(mutex_);
  // Keeps `record`, or puts in its place the one whose account it shares.
  absl::StatusOr<Tree::Closing> Close(const CancelRequest& request, EventKind event,
                                      std::shared_ptr<CancelRecord>& record)
      NURSERY_EXCLUDES(mutex_);
  std::shared_ptr<CancelRecord> Keep(std::shared_ptr<CancelRecord> record) NURSERY_REQUIRES(mutex_);
  static Time OwnDeadline(const spec::Job& job, Time now, Duration default_timeout,
                          std::string* source);
  absl::StatusOr<std::string> JobDir() NURSERY_EXCLUDES(mutex_);
  // Makes it the caller's; empty: there is none.
  std::string TakeDir() NURSERY_EXCLUDES(mutex_);

  // Constant after construction.
  const std::string id_;
  const std::string display_name_;
  const int64_t node_count_;
  const Duration max_teardown_;
  const JobOptions options_;
  const std::string data_dir_;
  const Clock& clock_;
  const std::shared_ptr<EventLog> log_;
  const std::shared_ptr<Bells> bells_;
  const std::shared_ptr<const Escapees> escapees_;
  const std::vector<std::shared_ptr<NamedSemaphore>> semaphores_;
  const std::function<v1::Containment()> containment_;
  const Time admitted_;
  const WallTime admitted_wall_;
  std::string deadline_source_;  // constant after construction, as what follows needs it
  const Time deadline_;

  mutable Mutex mutex_;
  Form form_ NURSERY_GUARDED_BY(mutex_);
  std::string job_dir_ NURSERY_GUARDED_BY(mutex_);
  Time callers_deadline_ NURSERY_GUARDED_BY(mutex_) = kNever;  // when it is the earlier one
  // The last kMaxCancels, unchanged from then on.
  std::deque<std::shared_ptr<CancelRecord>> cancels_ NURSERY_GUARDED_BY(mutex_);
  std::atomic<size_t> output_bytes_{0};  // since it has run
  std::atomic<bool> closed_{false};
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_JOB_H_
