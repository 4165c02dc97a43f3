#include "server/rpc/jobs_feed.h"

#include <utility>

#include "nursery/core/sleep.h"
#include "server/rpc/job_view.h"

namespace nursery::rpc {
namespace {

constexpr int kMaxJobs = 200;
// Between two looks: a watcher sees progress, not every step.
constexpr std::chrono::milliseconds kPause{100};

}  // namespace

JobsFeed::JobsFeed(engine::JobTable& table, Filter filter)
    : table_(table), filter_(std::move(filter)), bell_(table.engine().WatchAll()) {}

void JobsFeed::Look() {
  std::unordered_map<std::string, Told> told;
  for (std::shared_ptr<engine::Job>& job : table_.Changes(&mark_)) {
    const auto before = told_.find(job->id());
    const Told last = before == told_.end() ? Told() : before->second;
    const bool is_new = told.try_emplace(job->id(), last).second;
    if (is_new && last.seq != job->last_seq()) changed_.push_back(std::move(job));
  }
  told_ = std::move(told);
}

void JobsFeed::Tell(const engine::Job& job, v1::WatchJobsResponse* response) {
  // Before the description, which may then be newer and is told again.
  Told& told = told_[job.id()];
  told.seq = job.last_seq();
  v1::Job described = Viewed(job.Describe(), v1::JOB_VIEW_BASIC);
  const bool fitted = std::exchange(told.fitted, filter_.Fits(described));
  if (told.fitted || fitted) *response->add_jobs() = std::move(described);
}

bool JobsFeed::Take(v1::WatchJobsResponse* response) {
  if (changed_.empty()) Look();
  while (!changed_.empty() && response->jobs_size() < kMaxJobs &&
         response->ByteSizeLong() < kJobsBytes) {
    Tell(*changed_.front(), response);
    changed_.pop_front();
  }
  return !std::exchange(begun_, true) || response->jobs_size() > 0;
}

Async<void> JobsFeed::Wait(Context context, Duration patience) {
  const CancelScope bounded(context, Later(context.Now(), patience), "heartbeat");
  absl::Status slept = co_await Sleep(bounded.context(), kPause);
  if (!slept.ok()) co_return;
  absl::StatusOr<engine::Tick> rung = co_await bell_.Receive(bounded.context());
  static_cast<void>(rung);
}

}  // namespace nursery::rpc
