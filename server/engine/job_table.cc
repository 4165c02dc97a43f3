#include "server/engine/job_table.h"

#include <malloc.h>

#include <algorithm>
#include <limits>

#include "nursery/core/blocking.h"
#include "nursery/core/status.h"
#include "server/engine/reason.h"

namespace nursery::engine {
namespace {

constexpr std::chrono::seconds kRetryAfter{1};
// So long after its end a job is asked for as it was; then, if it takes so many bytes, it is
// packed. What had no memory for that is tried again.
constexpr std::chrono::seconds kPackAfter{5};
constexpr std::chrono::seconds kPackAgain{60};
constexpr int64_t kWorthPacking = int64_t{100} << 10;
// So much freed memory, in large pieces, is worth to be given back, so long after there was as
// much. It takes the heap from all threads meanwhile, so that it may take this share of the time.
constexpr int64_t kWorthCounting = int64_t{256} << 10;
constexpr int64_t kWorthTrimming = int64_t{4} << 20;
constexpr std::chrono::seconds kTrimAfter{1};
constexpr int64_t kTrimShare = 100;
// How much larger a message is than its bytes.
constexpr int64_t kBytesOfMessage = 10;

// The C library gives back by itself what it has at the end of the heap only.
void GiveMemoryBack() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

absl::Status Refused(std::string_view what, int64_t limit, v1::ErrorReason reason) {
  const std::string text =
      "the limit of " + std::to_string(limit) + " " + std::string(what) + " is reached";
  return WithRetry(WithReason(Error(absl::StatusCode::kResourceExhausted, text), reason),
                   kRetryAfter);
}

// Has a place for every job that may ever be live, so that one that was admitted is never left
// behind. What is in it has been admitted, which has its own limit.
std::pair<Sender<std::shared_ptr<Job>>, Receiver<std::shared_ptr<Job>>> MakeDetaching() {
  return MakeChannel<std::shared_ptr<Job>>(std::numeric_limits<size_t>::max());
}

}  // namespace

JobTable::JobTable(Engine& engine, TableLimits limits, std::function<void()> give_memory_back)
    : JobTable(engine, limits, std::move(give_memory_back), MakeDetaching()) {}

JobTable::JobTable(
    Engine& engine, TableLimits limits, std::function<void()> give_memory_back,
    std::pair<Sender<std::shared_ptr<Job>>, Receiver<std::shared_ptr<Job>>> detaching)
    : engine_(engine),
      give_memory_back_(give_memory_back ? std::move(give_memory_back) : GiveMemoryBack),
      detach_(std::move(detaching.first)),
      detached_(std::move(detaching.second)),
      limits_(limits) {}

absl::Status JobTable::CheckLimits(const Submission& submission) {
  if (closed_) {
    return WithReason(Error(absl::StatusCode::kUnavailable, "the server is stopping"),
                      v1::ERROR_REASON_DRAINING);
  }
  const auto nodes = static_cast<int64_t>(submission.spec->nodes.size());
  if (stats_.live >= limits_.live_jobs) {
    ++stats_.refused_jobs;
    return Refused("live jobs", limits_.live_jobs, v1::ERROR_REASON_TOO_MANY_JOBS);
  }
  if (stats_.nodes + nodes > limits_.nodes) {
    ++stats_.refused_nodes;
    return Refused("nodes of live jobs", limits_.nodes, v1::ERROR_REASON_TOO_MANY_NODES);
  }
  if (stats_.bytes + submission.spec_bytes > limits_.bytes) {
    ++stats_.refused_bytes;
    return Refused("bytes of live jobs", limits_.bytes, v1::ERROR_REASON_TOO_MANY_BYTES);
  }
  return absl::OkStatus();
}

absl::StatusOr<Admitted> JobTable::Admit(Submission submission) {
  const std::string request =
      submission.request_id.empty() ? "" : submission.submitter + "/" + submission.request_id;
  Forgotten forgotten;
  MutexLock lock(mutex_);
  ForgetOld(engine_.clock().Now(), &forgotten);
  Admitted admitted;
  if (const auto known = requests_.find(request); !request.empty() && known != requests_.end()) {
    const Entry& entry = entries_.at(known->second);
    if (entry.digest != submission.spec_digest) {
      return WithReason(Error(absl::StatusCode::kAlreadyExists,
                              "request_id " + submission.request_id +
                                  " was used for another job: jobs/" + known->second),
                        v1::ERROR_REASON_REQUEST_ID_REUSED);
    }
    admitted.job = entry.job;
    admitted.is_new = false;
    return admitted;
  }
  NURSERY_RETURN_IF_ERROR(CheckLimits(submission));
  const auto nodes = static_cast<int64_t>(submission.spec->nodes.size());
  submission.options.submitter = submission.submitter;
  submission.options.spec_digest = submission.spec_digest;
  absl::StatusOr<std::shared_ptr<Job>> job =
      engine_.Admit(submission.spec, std::move(submission.options));
  if (!job.ok()) return job.status();
  Entry& entry = entries_[(*job)->id()];
  entry.job = *job;
  entry.request = request;
  entry.digest = submission.spec_digest;
  entry.bytes = submission.spec_bytes;
  if (!request.empty()) requests_[request] = (*job)->id();
  ++stats_.live;
  ++stats_.submitted;
  stats_.nodes += nodes;
  stats_.bytes += entry.bytes;
  // The message that it came in takes several times the bytes it had on the wire.
  AddFreed(kBytesOfMessage * entry.bytes, engine_.clock().Now());
  admitted.job = *std::move(job);
  return admitted;
}

Async<absl::StatusOr<Admitted>> JobTable::AdmitWithin(Context context, JobTable* table,
                                                      Submission submission, Duration patience) {
  const CancelScope bounded(context, Later(context.Now(), patience), "admission_wait");
  const BellReceiver bell = table->room_.Watch();
  for (;;) {
    absl::StatusOr<Admitted> admitted = table->Admit(submission);
    if (!absl::IsResourceExhausted(admitted.status())) co_return admitted;
    absl::StatusOr<Tick> rung = co_await bell.Receive(bounded.context());
    if (!rung.ok()) co_return admitted;
  }
}

absl::Status JobTable::Detach(std::shared_ptr<Job> job) { return detach_.TrySend(std::move(job)); }

void JobTable::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

void JobTable::OnEnded(const std::shared_ptr<Job>& job) {
  const NodeState state = job->state();
  const auto size = static_cast<int64_t>(job->size());
  const Time now = engine_.clock().Now();
  Forgotten forgotten;
  bool has_chore = false;
  {
    MutexLock lock(mutex_);
    const auto found = entries_.find(job->id());
    if (found == entries_.end() || found->second.ended) return;
    found->second.ended = true;
    --stats_.live;
    stats_.nodes -= job->node_count();
    stats_.bytes -= found->second.bytes;
    ++stats_.finished[static_cast<size_t>(state)];
    ++stats_.ended;
    found->second.bytes += size;
    ended_bytes_ += found->second.bytes;
    const bool large = found->second.bytes >= kWorthPacking;
    has_chore = large || ended_.empty();
    ended_.push_back({job->id(), now, ++last_ended_, large ? now + kPackAfter : kNever});
    ForgetOld(now, &forgotten);
  }
  room_.Ring();
  if (has_chore) chores_.Ring();
}

void JobTable::ForgetOld(Time now, Forgotten* forgotten) {
  while (!ended_.empty()) {
    const bool large = ended_bytes_ > limits_.ended_bytes && ended_.size() > 1;
    const bool full = stats_.ended > limits_.ended_jobs || large;
    if (!full && now - ended_.front().at < limits_.ended_age) return;
    Forget(ended_.front().id, forgotten);
    ended_.pop_front();
  }
}

void JobTable::Forget(const std::string& id, Forgotten* forgotten) {
  const auto found = entries_.find(id);
  requests_.erase(found->second.request);
  ended_bytes_ -= found->second.bytes;
  AddFreed(found->second.bytes, engine_.clock().Now());
  --stats_.ended;
  engine_.Forget(id);
  forgotten->push_back(std::move(found->second.job));
  entries_.erase(found);
}

std::shared_ptr<Job> JobTable::Find(const std::string& id) const {
  MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.job;
}

std::vector<std::shared_ptr<Job>> JobTable::List(const std::string& before, size_t limit) const {
  std::vector<std::shared_ptr<Job>> jobs;
  MutexLock lock(mutex_);
  auto entry = before.empty() ? entries_.end() : entries_.lower_bound(before);
  while (entry != entries_.begin() && jobs.size() < limit) jobs.push_back((--entry)->second.job);
  return jobs;
}

std::vector<std::shared_ptr<Job>> JobTable::ListOldest(const std::string& after,
                                                       size_t limit) const {
  std::vector<std::shared_ptr<Job>> jobs;
  MutexLock lock(mutex_);
  auto entry = after.empty() ? entries_.begin() : entries_.upper_bound(after);
  for (; entry != entries_.end() && jobs.size() < limit; ++entry) jobs.push_back(entry->second.job);
  return jobs;
}

std::vector<std::shared_ptr<Job>> JobTable::Live() const {
  std::vector<std::shared_ptr<Job>> jobs;
  MutexLock lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    if (!entry.ended) jobs.push_back(entry.job);
  }
  return jobs;
}

std::vector<std::shared_ptr<Job>> JobTable::Changes(uint64_t* mark) const {
  std::vector<std::shared_ptr<Job>> jobs = Live();
  MutexLock lock(mutex_);
  // One that ended since Live is there twice, which does no harm.
  for (auto each = ended_.rbegin(); *mark != 0 && each != ended_.rend(); ++each) {
    if (each->number < *mark) break;
    jobs.push_back(entries_.at(each->id).job);
  }
  *mark = last_ended_ + 1;
  return jobs;
}

TableLimits JobTable::Limits() const {
  MutexLock lock(mutex_);
  return limits_;
}

void JobTable::SetLimits(const TableLimits& limits) {
  {
    MutexLock lock(mutex_);
    limits_ = limits;
  }
  // Whoever waits may fit in now, and what is kept may be too old.
  room_.Ring();
  chores_.Ring();
}

TableStats JobTable::Stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

Async<absl::Status> JobTable::RunDetached(Context context) {
  // Jobs are told of the end by their cancel, which says why; their context stays open.
  const CancelScope shield = CancelScope::Shielded(context, Duration::max(), "");
  GroupOptions collect;
  collect.join = nursery::Join::Collect();
  collect.beyond_max_tasks = true;  // the limit of live jobs bounds them
  GroupResult result =
      co_await WithGroup(shield.context(), collect, ReceiveJobs, this, std::move(context));
  co_return result.status;
}

JobTable::Chore JobTable::NextChore() {
  Chore chore;
  const Time now = engine_.clock().Now();
  MutexLock lock(mutex_);
  ForgetOld(now, &chore.forgotten);
  const auto next =
      std::min_element(ended_.begin(), ended_.end(),
                       [](const Ended& a, const Ended& b) { return a.pack_at < b.pack_at; });
  if (next != ended_.end() && next->pack_at <= now) {
    next->pack_at = kNever;
    chore.pack = entries_.at(next->id).job;
  } else if (trim_at_ <= now) {
    freed_ = 0;
    trim_at_ = kNever;
    chore.trim = true;
  } else if (ended_.empty()) {
    chore.due = trim_at_;
  } else {
    chore.due = std::min({trim_at_, next->pack_at, Later(ended_.front().at, limits_.ended_age)});
  }
  return chore;
}

void JobTable::AddFreed(int64_t bytes, Time now) {
  if (bytes < kWorthCounting) return;
  freed_ += bytes;
  if (freed_ < kWorthTrimming || trim_at_ != kNever) return;
  trim_at_ = std::max(now + kTrimAfter, no_trim_until_);
  chores_.Ring();
}

void JobTable::OnPacked(const std::shared_ptr<Job>& job) {
  const auto size = static_cast<int64_t>(job->size());
  MutexLock lock(mutex_);
  const auto found = entries_.find(job->id());
  if (found == entries_.end()) return;
  const int64_t freed = found->second.bytes - size;
  found->second.bytes = size;
  ended_bytes_ -= freed;
  AddFreed(freed, engine_.clock().Now());
}

void JobTable::OnNotPacked(const std::shared_ptr<Job>& job) {
  MutexLock lock(mutex_);
  const auto found = std::find_if(ended_.begin(), ended_.end(),
                                  [&job](const Ended& each) { return each.id == job->id(); });
  if (found != ended_.end()) found->pack_at = engine_.clock().Now() + kPackAgain;
}

void JobTable::Do(Chore chore) {
  if (chore.pack != nullptr) chore.pack->Pack();
  if (!chore.trim) return;
  const Time start = engine_.clock().Now();
  give_memory_back_();
  const Time end = engine_.clock().Now();
  MutexLock lock(mutex_);
  no_trim_until_ = end + kTrimShare * (end - start);
}

Async<absl::Status> JobTable::DoChores(Context, JobTable* table, Context context) {
  const BellReceiver bell = table->chores_.Watch();
  while (!context.cancelled()) {
    Chore chore = table->NextChore();
    const std::shared_ptr<Job> pack = chore.pack;
    if (pack == nullptr && !chore.trim && chore.forgotten.empty()) {
      const CancelScope bounded(context, chore.due, "the next chore");
      absl::StatusOr<Tick> rung = co_await bell.Receive(bounded.context());
      static_cast<void>(rung);
      continue;
    }
    auto work = [table, chore = std::move(chore)]() mutable {
      table->Do(std::move(chore));
      return absl::OkStatus();
    };
    absl::Status done = co_await RunBlocking(context, std::move(work));
    if (pack == nullptr) continue;
    if (done.ok()) table->OnPacked(pack);
    if (!done.ok()) table->OnNotPacked(pack);
  }
  co_return absl::OkStatus();
}

Async<absl::Status> JobTable::ReceiveJobs(Group& group, JobTable* table, Context context) {
  absl::Status packing = group.TrySpawn("chores", DoChores, table, context);
  if (!packing.ok()) co_return packing;
  for (;;) {
    absl::StatusOr<std::shared_ptr<Job>> job = co_await table->detached_.Receive(context);
    if (!job.ok()) break;
    absl::Status spawned = group.TrySpawn("job " + (*job)->id(), RunOne, table, *job);
    if (!spawned.ok()) co_return spawned;
  }
  // Those that were admitted but not received yet are cancelled like all others, and end so.
  for (;;) {
    absl::StatusOr<std::shared_ptr<Job>> job = table->detached_.TryReceive();
    if (!job.ok()) co_return absl::OkStatus();
    absl::Status spawned = group.TrySpawn("job " + (*job)->id(), RunOne, table, *job);
    if (!spawned.ok()) co_return spawned;
  }
}

Async<absl::Status> JobTable::RunOne(Context context, JobTable* table, std::shared_ptr<Job> job) {
  const CancelScope bounded(context, job->options().deadline, "deadline of the call");
  co_await job->Run(bounded.context());
  table->OnEnded(job);
  co_return absl::OkStatus();
}

}  // namespace nursery::engine
