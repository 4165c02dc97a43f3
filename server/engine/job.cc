#include "server/engine/job.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "nursery/core/blocking.h"
#include "nursery/core/executor.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/limits.h"
#include "server/engine/remove_tree.h"
#include "server/engine/text.h"
#include "server/spec/scalar.h"

namespace nursery::engine {
namespace {

// "job timeout 10m, set in report.yaml:2".
std::string DeadlineSource(const spec::Job& job, const spec::TimeLimit& limit) {
  if (!limit.limited()) return "";
  std::string label = "job timeout " + spec::FormatDuration(limit.limit);
  if (!job.timeout) return label + ", the default";
  if (limit.mark.line == 0 || job.source_file.empty()) return label;
  return label + ", set in " + job.source_file + ":" + std::to_string(limit.mark.line);
}

void CollectSurvivors(const Node& node, SurvivorList* survivors) {
  if (node.activity().survivors.count > 0) survivors->Add(node.Path(), node.activity().survivors);
  for (const auto& child : node.children()) CollectSurvivors(*child, survivors);
  if (node.map == nullptr) return;
  for (const Node* item : node.map->live) CollectSurvivors(*item, survivors);
}

void CollectOutputs(const Node& node, bool below, std::vector<OutputView>* views) {
  if (node.activity().output != nullptr) {
    OutputView& view = views->emplace_back();
    view.path = node.Path();
    view.attempt = node.activity().output_attempt;
    view.output = node.activity().output;
    view.errors = node.activity().errors;
  }
  if (!below) return;
  for (const auto& child : node.children()) CollectOutputs(*child, below, views);
  if (node.map == nullptr) return;
  for (const Node* item : node.map->live) CollectOutputs(*item, below, views);
}

}  // namespace

Job::Job(std::unique_ptr<Tree> tree, Runtime runtime, JobOptions options, std::string data_dir)
    : id_(tree->id()),
      display_name_(tree->job().name),
      node_count_(static_cast<int64_t>(tree->job().nodes.size())),
      max_teardown_(tree->job().max_teardown),
      options_(std::move(options)),
      data_dir_(std::move(data_dir)),
      clock_(tree->clock()),
      log_(tree->log()),
      bells_(tree->bells()),
      escapees_(tree->escapees()),
      semaphores_(runtime.semaphores),
      containment_(runtime.containment),
      admitted_(clock_.Now()),
      admitted_wall_(ToWall(clock_, admitted_)),
      deadline_(OwnDeadline(tree->job(), admitted_, options_.default_timeout, &deadline_source_)) {
  tree->Admit(deadline_);
  tree->OnCancelled([this, of = tree.get()](const CancelRecord& record) {
    v1::Event completed;
    *completed.mutable_cancel_completed()->mutable_receipt() = Receipt(record);
    of->Log(std::move(completed));
  });
  runtime.workdir = options_.workdir;
  runtime.job_dir = [this] { return JobDir(); };
  form_.live = std::make_shared<Live>(std::move(tree), std::move(runtime));
}

Time Job::OwnDeadline(const spec::Job& job, Time now, Duration default_timeout,
                      std::string* source) {
  spec::TimeLimit limit;
  limit.limit = default_timeout;
  if (job.timeout) limit = *job.timeout;
  *source = DeadlineSource(job, limit);
  return limit.limited() ? Later(now, limit.limit) : kNever;
}

absl::StatusOr<std::string> Job::JobDir() {
  MutexLock lock(mutex_);
  if (!job_dir_.empty()) return job_dir_;
  std::string pattern = data_dir_ + "/job-" + id() + "-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return ErrnoError(errno, "cannot make the job's directory " + pattern);
  }
  job_dir_ = pattern;
  return job_dir_;
}

std::string Job::TakeDir() {
  MutexLock lock(mutex_);
  return std::exchange(job_dir_, "");
}

Job::Form Job::form() const {
  MutexLock lock(mutex_);
  return form_;
}

Async<void> Job::Run(Context context) {
  const CancelScope bounded(context, deadline_, deadline_source_);
  if (bounded.context().deadline() < deadline_) {
    MutexLock lock(mutex_);
    callers_deadline_ = bounded.context().deadline();
  }
  const std::shared_ptr<Live> live = form().live;
  Tree& tree = *live->tree;
  const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
  live->runtime.shield = shield.context();
  co_await RunNode(bounded.context(), &live->runtime, &tree.root());
  live->runtime.shield.reset();
  if (std::string dir = TakeDir(); !dir.empty()) {
    auto remove = [dir] {
      RemoveTree(dir);
      return absl::OkStatus();
    };
    absl::Status removed = co_await RunBlocking(shield.context(), std::move(remove));
    static_cast<void>(removed);
  }
  output_bytes_.store(tree.LetGo());
  v1::Event ended;
  tree.Locked([&] {
    ended.mutable_job_ended()->set_state(ToProto(tree.root().status.state));
    if (tree.root().cause != nullptr)
      *ended.mutable_job_ended()->mutable_cause() = *tree.root().cause;
  });
  tree.stats().job_seconds[static_cast<size_t>(state())].Observe(clock_.Now() - admitted_);
  tree.Log(std::move(ended));
  closed_.store(true);
  bells_->Ring();
}

absl::StatusOr<Tree::Closing> Job::Close(const CancelRequest& request, EventKind event,
                                         std::shared_ptr<CancelRecord>& record) {
  const Teardown teardown = request.kill ? Teardown::kKill : Teardown::kGraceful;
  v1::CancelReceipt& receipt = record->request;
  const Form now = form();
  if (now.live == nullptr) {
    *receipt.mutable_admission_close_time() = ToProto(clock_.WallNow());
    if (StateOf(request.path)) return Error(absl::StatusCode::kAlreadyExists, "it has ended");
    return Error(absl::StatusCode::kNotFound,
                 "job " + id_ + " has no node '" + request.path + "', and has ended");
  }
  absl::StatusOr<Tree::Closing> closing;
  {
    // In one step: whoever sees that it is closed finds the record.
    MutexLock lock(mutex_);
    closing = now.live->tree->Close(record, event, teardown, request.counts_as, request.grace);
    if (closing.ok()) record = Keep(std::move(record));
  }
  if (closing.ok()) now.live->tree->Ring();
  return closing;
}

std::shared_ptr<CancelRecord> Job::Keep(std::shared_ptr<CancelRecord> record) {
  // A second cancel of the same node (to kill it) keeps the first one's account.
  const auto known = std::find_if(cancels_.begin(), cancels_.end(), [&](const auto& each) {
    return each->teardowns == record->teardowns && each->request.path() == record->request.path();
  });
  if (known != cancels_.end()) {
    record = *known;
    cancels_.erase(known);
  } else if (cancels_.size() == kMaxCancels) {
    cancels_.pop_front();
  }
  cancels_.push_back(record);
  return record;
}

absl::StatusOr<v1::CancelReceipt> Job::Cancel(const CancelRequest& request) {
  absl::StatusOr<std::shared_ptr<const CancelRecord>> record = StartCancel(request);
  if (!record.ok()) return record.status();
  return Receipt(**record);
}

absl::StatusOr<std::shared_ptr<const CancelRecord>> Job::StartCancel(const CancelRequest& request) {
  const EventKind event = request.drain ? EventKind::kDrain : EventKind::kCancel;
  auto record = std::make_shared<CancelRecord>();
  record->asked = clock_.Now();
  v1::CancelReceipt& receipt = record->request;
  receipt.set_job("jobs/" + id());
  receipt.set_path(request.path);
  v1::Cause& cause = *receipt.mutable_cause();
  cause.set_kind(request.call_lost ? v1::CAUSE_KIND_CALL_LOST : ToProto(CauseOf(event)));
  cause.set_reason(ToUtf8(request.reason));
  cause.set_actor(request.actor);
  cause.set_origin_path(request.path);
  *cause.mutable_time() = ToProto(ToWall(clock_, record->asked));
  absl::StatusOr<Tree::Closing> closing = Close(request, event, record);
  if (absl::IsAlreadyExists(closing.status())) {
    SurvivorList escaped;
    escapees_->AddTo(request.path, &escaped);
    receipt.set_already_ended(true);
    receipt.set_complete(escaped.count == 0);
    receipt.set_survivor_count(escaped.count);
    for (v1::Survivor& each : escaped.named) *receipt.add_survivors() = std::move(each);
    return record;
  }
  if (!closing.ok()) return closing.status();
  nursery::Cause told(nursery::CauseKind::kExplicit,
                      Error(absl::StatusCode::kCancelled, request.reason));
  told.actor = request.actor;
  // First: whoever is woken by the other must see that there is no grace.
  for (const auto& kill : closing->kill) kill->Cancel(told);
  if (closing->work != nullptr) closing->work->Cancel(told);
  return record;
}

v1::CancelReceipt Job::LastCancel() const {
  std::shared_ptr<const CancelRecord> record;
  {
    MutexLock lock(mutex_);
    if (!cancels_.empty()) record = cancels_.back();
  }
  return record == nullptr ? v1::CancelReceipt() : Receipt(*record);
}

v1::CancelReceipt Job::Receipt(const CancelRecord& record) const {
  v1::CancelReceipt receipt = record.request;
  if (record.teardowns == nullptr) return receipt;
  receipt.set_containment(containment_());
  Time ended = clock_.Now();
  SurvivorList survivors;
  bool complete = false;
  const Form now = form();
  if (now.live != nullptr) {
    now.live->tree->Locked([&] {
      const Node* node = FindNode(now.live->tree->root(), receipt.path());
      // An item that has ended is no node any more.
      complete = node == nullptr || IsTerminal(node->status.state);
      if (node == nullptr) return;
      if (complete) ended = node->ended_at;
      CollectSurvivors(*node, &survivors);
    });
  } else {
    complete = true;
    // An item has no line any more.
    std::optional<NodeView> view = now.ended->ViewOf(receipt.path());
    if (!view) view = now.ended->ViewOf("");
    ended = FromWall(clock_, view->ended);
  }
  // After it is known to be complete: what is counted then is all.
  const Teardowns& done = *record.teardowns;
  receipt.set_skipped(done.skipped);
  receipt.set_interrupted(done.interrupted);
  receipt.set_terminated(done.terminated);
  receipt.set_killed(done.killed);
  receipt.set_cleanups_run(done.cleanups_run);
  receipt.set_cleanups_skipped(done.cleanups_skipped);
  escapees_->AddTo(receipt.path(), &survivors);
  receipt.set_survivor_count(survivors.count);
  for (v1::Survivor& each : survivors.named) *receipt.add_survivors() = std::move(each);
  receipt.set_complete(complete && survivors.count == 0);
  *receipt.mutable_duration() = ToProto(ended - record.asked);
  return receipt;
}

NodeState Job::state() const {
  const Form now = form();
  if (now.live == nullptr) return now.ended->state();
  return now.live->tree->Locked([&] { return now.live->tree->root().status.state; });
}

std::array<int64_t, 8> Job::NodeCounts() const {
  const Form now = form();
  return now.live == nullptr ? now.ended->counts() : now.live->tree->Counts();
}

int64_t Job::last_seq() const {
  const Form now = form();
  return now.live == nullptr ? now.ended->last_seq() : now.live->tree->last_seq();
}

void Job::Tap(std::shared_ptr<OutputTap> tap) { form().live->tree->Tap(std::move(tap)); }

absl::StatusOr<EventBatch> Job::Events(int64_t after, size_t limit) const {
  return log_->Read(after, limit);
}

void Job::Pack() {
  const std::shared_ptr<Live> live = form().live;
  if (live == nullptr) return;
  auto ended = std::make_shared<const EndedTree>(*this, live->tree->job());
  log_->Pack();
  MutexLock lock(mutex_);
  form_.live = nullptr;
  form_.ended = std::move(ended);
}

size_t Job::size() const {
  const Form now = form();
  const size_t tree =
      now.live == nullptr ? now.ended->size() : static_cast<size_t>(node_count_) * kBytesOfNode;
  return tree + log_->size() + output_bytes_.load();
}

std::vector<OutputView> Job::Outputs(const std::string& path, bool below) const {
  const Form now = form();
  if (now.live == nullptr) return now.ended->Outputs(path, below);
  std::vector<OutputView> views;
  now.live->tree->Locked([&] {
    const Node* node = FindNode(now.live->tree->root(), path);
    if (node != nullptr) CollectOutputs(*node, below, &views);
  });
  return views;
}

std::vector<SemaphoreView> Job::Semaphores() const {
  std::vector<SemaphoreView> views;
  for (const auto& semaphore : semaphores_) {
    if (!semaphore->spec().of_server) views.push_back(semaphore->View());
  }
  return views;
}

std::optional<SemaphoreView> Job::SemaphoreNamed(const std::string& name) const {
  for (const auto& semaphore : semaphores_) {
    if (semaphore->spec().name == name) return semaphore->View();
  }
  return std::nullopt;
}

std::optional<NodeState> Job::StateOf(const std::string& path) const {
  const Form now = form();
  if (now.live == nullptr) return now.ended->StateOf(path);
  return now.live->tree->Locked([&]() -> std::optional<NodeState> {
    const Node* node = FindNode(now.live->tree->root(), path);
    if (node == nullptr) return std::nullopt;
    return node->status.state;
  });
}

bool Job::Knows(std::string_view path) const {
  const Form now = form();
  if (now.live == nullptr) return now.ended->Knows(path);
  return now.live->tree->job().Find(path) != spec::kNoNode;
}

}  // namespace nursery::engine
