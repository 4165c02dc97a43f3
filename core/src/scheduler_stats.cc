#include "nursery/core/scheduler_stats.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/scheduler.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/internal/worker.h"

namespace nursery {

std::ostream& operator<<(std::ostream& stream, const Stall& stall) {
  stream << "task " << stall.id << " " << internal::OneLine(stall.name) << " for "
         << FormatDuration(stall.length);
  if (!stall.at.empty()) stream << ", at " << stall.at;
  return stream << ", spawned at " << stall.spawned_at;
}

namespace internal {
namespace {

// Of one writer.
void Add(std::atomic<int64_t>& sum, int64_t value) {
  sum.store(sum.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
}

}  // namespace

void DurationCounts::Add(Duration duration) {
  const auto nanos = static_cast<uint64_t>(std::max<int64_t>(duration.count(), 1));
  constexpr int kFirstWidth = std::bit_width(uint64_t{DurationHistogram::kFirstBound.count()} - 1);
  const int index = std::max(static_cast<int>(std::bit_width(nanos - 1)) - kFirstWidth, 0);
  internal::Add(counts_[static_cast<size_t>(std::min(index, DurationHistogram::kBuckets - 1))], 1);
  internal::Add(sum_, duration.count());
}

void DurationCounts::AddTo(DurationHistogram& sum) const {
  for (size_t i = 0; i < counts_.size(); ++i) {
    sum.counts[i] += counts_[i].load(std::memory_order_relaxed);
  }
  sum.sum += Duration(sum_.load(std::memory_order_relaxed));
}

void Worker::RunTimed(TaskRecord* task) {
  task->timed = false;
  const Time start = Clock::Steady().Now();
  latency.Add(start - task->since.load(std::memory_order_relaxed));
  TaskRecord::RunSlice(task);
  slice_times.Add(Clock::Steady().Now() - start);
}

SchedulerStats Scheduler::Stats() const {
  SchedulerStats stats;
  stats.threads = static_cast<int>(threads_.size());
  for (const auto& worker : workers_) {
    worker->latency.AddTo(stats.latency);
    worker->slice_times.AddTo(stats.slices);
  }
  stats.long_slices = long_slices_.load(std::memory_order_relaxed);
  stats.stalled = Duration(stalled_.load(std::memory_order_relaxed));
  return stats;
}

uint64_t Scheduler::slices_started() const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->slices.load(std::memory_order_relaxed);
  return sum;
}

// Either this sees that a look is wanted, or Look sees that not all sleep. A guest may be missed,
// in the moment in which all else has come to rest.
void Scheduler::WantLook() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (look_wanted_.load(std::memory_order_relaxed)) return;
  if (!look_wanted_.exchange(true)) watch_();
}

void Scheduler::Look(Time now, const TaskRegistry& registry,
                     const std::function<void(const Stall&)>& on_stall) {
  bool guest_runs = false;
  for (const auto& each : workers_) {
    Worker& worker = *each;
    const uint32_t slice = worker.slices.load(std::memory_order_relaxed);
    const bool runs = worker.running.load(std::memory_order_relaxed) != nullptr;
    guest_runs = guest_runs || (runs && worker.guest.load(std::memory_order_relaxed));
    Worker::Look& look = worker.look;
    if (!runs || !look.runs || slice != look.slice) {
      look = {runs, false, slice, now, now};
      continue;
    }
    const Duration length = now - look.first;
    if (length < kLongSlice) continue;
    if (look.counted == look.first) Add(long_slices_, 1);
    Add(stalled_, (now - look.counted).count());
    look.counted = now;
    if (length < kNamedStall || look.named || !on_stall) continue;
    look.named = true;
    std::optional<Stall> stall = registry.Describe(worker.running);
    if (!stall) continue;
    stall->length = length;
    on_stall(*stall);
  }
  look_wanted_.store(false);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const int idle = idle_count_.load(std::memory_order_relaxed);
  if (guest_runs || idle < static_cast<int>(threads_.size())) look_wanted_.store(true);
}

}  // namespace internal
}  // namespace nursery
