#include "server/engine/job.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "nursery/core/executor.h"
#include "nursery/core/status.h"
#include "server/engine/convert.h"
#include "server/engine/limits.h"
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

void CollectSurvivors(const Node& node, std::vector<v1::Survivor>* survivors) {
  for (const AttemptObserver::Survivor& each : node.survivors) {
    v1::Survivor& survivor = survivors->emplace_back();
    survivor.set_pid(each.pid);
    survivor.set_command(ToUtf8(each.command));
    survivor.set_state(each.state);
    survivor.set_path(node.Path());
  }
  for (const auto& child : node.children) CollectSurvivors(*child, survivors);
  if (node.map == nullptr) return;
  for (const Node* item : node.map->live) CollectSurvivors(*item, survivors);
}

void CollectOutputs(const Node& node, bool below, std::vector<OutputView>* views) {
  if (node.output != nullptr) {
    OutputView& view = views->emplace_back();
    view.path = node.Path();
    view.attempt = node.output_attempt;
    view.output = node.output;
    view.errors = node.errors;
  }
  if (!below) return;
  for (const auto& child : node.children) CollectOutputs(*child, below, views);
  if (node.map == nullptr) return;
  for (const Node* item : node.map->live) CollectOutputs(*item, below, views);
}

}  // namespace

Job::Job(std::unique_ptr<Tree> tree, Runtime runtime, JobOptions options, std::string data_dir)
    : options_(std::move(options)),
      data_dir_(std::move(data_dir)),
      tree_(std::move(tree)),
      admitted_(tree_->clock().Now()),
      deadline_(OwnDeadline(*tree_, options_.default_timeout, &deadline_source_)),
      runtime_(std::move(runtime)) {
  tree_->Admit(deadline_);
  runtime_.workdir = options_.workdir;
  runtime_.job_dir = [this] { return JobDir(); };
}

Time Job::OwnDeadline(const Tree& tree, Duration default_timeout, std::string* source) {
  spec::TimeLimit limit;
  limit.limit = default_timeout;
  if (tree.job().timeout) limit = *tree.job().timeout;
  *source = DeadlineSource(tree.job(), limit);
  return limit.limited() ? Later(tree.clock().Now(), limit.limit) : kNever;
}

Job::~Job() {
  MutexLock lock(mutex_);
  std::error_code ignored;
  if (!job_dir_.empty()) std::filesystem::remove_all(job_dir_, ignored);
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

Async<void> Job::Run(Context context) {
  const CancelScope bounded(context, deadline_, deadline_source_);
  if (bounded.context().deadline() < deadline_) {
    MutexLock lock(mutex_);
    callers_deadline_ = bounded.context().deadline();
  }
  const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
  runtime_.shield = shield.context();
  co_await RunNode(bounded.context(), &runtime_, &tree_->root());
  runtime_.shield.reset();
  v1::Event ended;
  tree_->Locked([&] {
    ended.mutable_job_ended()->set_state(ToProto(tree_->root().status.state));
    if (tree_->root().cause != nullptr)
      *ended.mutable_job_ended()->mutable_cause() = *tree_->root().cause;
  });
  bool cancelled;
  {
    MutexLock lock(mutex_);
    cancelled = cancel_.has_value();
  }
  if (cancelled) {
    v1::Event completed;
    *completed.mutable_cancel_completed()->mutable_receipt() = LastCancel();
    tree_->Log(std::move(completed));
  }
  tree_->stats().job_seconds[static_cast<size_t>(state())].Observe(tree_->clock().Now() -
                                                                   admitted_);
  tree_->Log(std::move(ended));
}

absl::StatusOr<v1::CancelReceipt> Job::Cancel(const CancelRequest& request) {
  const EventKind event = request.drain ? EventKind::kDrain : EventKind::kCancel;
  v1::Cause cause = tree_->MakeCause(event, tree_->root(), request.reason);
  cause.set_actor(request.actor);
  cause.set_origin_path(request.path);
  if (request.call_lost) cause.set_kind(v1::CAUSE_KIND_CALL_LOST);
  CancelRecord record;
  record.asked = tree_->clock().Now();
  record.request.set_job("jobs/" + id());
  record.request.set_path(request.path);
  *record.request.mutable_cause() = cause;
  absl::StatusOr<Tree::Closing> closing =
      tree_->Close(request.path, event, cause, request.kill ? Teardown::kKill : Teardown::kGraceful,
                   request.counts_as, request.grace);
  *record.request.mutable_admission_close_time() = ToProto(tree_->clock().WallNow());
  if (absl::IsAlreadyExists(closing.status())) {
    record.request.set_already_ended(true);
    record.request.set_complete(true);
    return record.request;
  }
  if (!closing.ok()) return closing.status();
  record.teardowns = closing->teardowns;
  {
    MutexLock lock(mutex_);
    // A second cancel of the same tree (to kill it) keeps the first one's account.
    if (!cancel_ || cancel_->teardowns != record.teardowns) cancel_ = record;
  }
  nursery::Cause told(nursery::CauseKind::kExplicit,
                      Error(absl::StatusCode::kCancelled, request.reason));
  told.actor = request.actor;
  // First: whoever is woken by the other must see that there is no grace.
  for (const auto& kill : closing->kill) kill->Cancel(told);
  if (closing->work != nullptr) closing->work->Cancel(told);
  return LastCancel();
}

v1::CancelReceipt Job::LastCancel() const {
  std::optional<CancelRecord> record;
  {
    MutexLock lock(mutex_);
    record = cancel_;
  }
  if (!record) return {};
  v1::CancelReceipt receipt = record->request;
  const Teardowns& done = *record->teardowns;
  receipt.set_skipped(done.skipped);
  receipt.set_interrupted(done.interrupted);
  receipt.set_terminated(done.terminated);
  receipt.set_killed(done.killed);
  receipt.set_cleanups_run(done.cleanups_run);
  receipt.set_cleanups_skipped(done.cleanups_skipped);
  receipt.set_containment(runtime_.containment());
  Time ended = tree_->clock().Now();
  std::vector<v1::Survivor> survivors;
  bool complete = false;
  tree_->Locked([&] {
    const Node* node = FindNode(tree_->root(), receipt.path());
    // An item that has ended is no node any more.
    complete = node == nullptr || IsTerminal(node->status.state);
    if (node == nullptr) return;
    if (complete) ended = node->ended_at;
    CollectSurvivors(*node, &survivors);
  });
  receipt.set_survivor_count(static_cast<int64_t>(survivors.size()));
  for (size_t i = 0; i < std::min(survivors.size(), kMaxSurvivors); ++i) {
    *receipt.add_survivors() = survivors[i];
  }
  receipt.set_complete(complete && survivors.empty());
  *receipt.mutable_duration() = ToProto(ended - record->asked);
  return receipt;
}

NodeState Job::state() const {
  return tree_->Locked([&] { return tree_->root().status.state; });
}

absl::StatusOr<EventBatch> Job::Events(int64_t after, size_t limit) const {
  return tree_->events().Read(after, limit);
}

std::vector<OutputView> Job::Outputs(const std::string& path, bool below) const {
  std::vector<OutputView> views;
  tree_->Locked([&] {
    const Node* node = FindNode(tree_->root(), path);
    if (node != nullptr) CollectOutputs(*node, below, &views);
  });
  return views;
}

std::vector<SemaphoreView> Job::Semaphores() const {
  std::vector<SemaphoreView> views;
  for (const auto& semaphore : runtime_.semaphores) {
    if (!semaphore->spec().of_server) views.push_back(semaphore->View());
  }
  return views;
}

std::optional<SemaphoreView> Job::SemaphoreNamed(const std::string& name) const {
  for (const auto& semaphore : runtime_.semaphores) {
    if (semaphore->spec().name == name) return semaphore->View();
  }
  return std::nullopt;
}

std::optional<NodeState> Job::StateOf(const std::string& path) const {
  return tree_->Locked([&]() -> std::optional<NodeState> {
    const Node* node = FindNode(tree_->root(), path);
    if (node == nullptr) return std::nullopt;
    return node->status.state;
  });
}

}  // namespace nursery::engine
