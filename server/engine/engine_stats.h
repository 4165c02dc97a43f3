// EngineStats: what the engine counts for metrics while it runs jobs.
//
// Thread safety: written relaxed from any thread, without a lock; a reader sees each number whole,
// not all of one instant. Lifetime: the Engine owns it, its jobs write to it.
//
//   stats.attempt_seconds[ActionIndex(action)].Observe(took);
//   const DurationCounts counts = stats.attempt_seconds[0].Read();
#ifndef NURSERY_SERVER_ENGINE_ENGINE_STATS_H_
#define NURSERY_SERVER_ENGINE_ENGINE_STATS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <variant>

#include "nursery/core/clock.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/outcome.h"
#include "server/spec/job.h"

namespace nursery::engine {

// Of what happened, or of what there is now.
class Count {
 public:
  void Add(int64_t more = 1) { value_.fetch_add(more, std::memory_order_relaxed); }
  int64_t Read() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};  // relaxed: nothing follows from a counter
};

// Upper bounds of the buckets of durations, in seconds: from a function call to a night's work.
inline constexpr std::array<double, 14> kDurationBounds = {
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200, 43200};

struct DurationCounts {
  std::array<int64_t, kDurationBounds.size() + 1> by_bucket{};  // each by itself, not cumulative
  double sum_seconds = 0;
};

class DurationHistogram {
 public:
  void Observe(Duration took) {
    const double seconds = std::chrono::duration<double>(took).count();
    const auto* bound = std::lower_bound(kDurationBounds.begin(), kDurationBounds.end(), seconds);
    by_bucket_[static_cast<size_t>(bound - kDurationBounds.begin())].Add();
    nanoseconds_.Add(took.count());
  }
  DurationCounts Read() const {
    DurationCounts counts;
    for (size_t i = 0; i < by_bucket_.size(); ++i) counts.by_bucket[i] = by_bucket_[i].Read();
    counts.sum_seconds = static_cast<double>(nanoseconds_.Read()) / 1e9;
    return counts;
  }

 private:
  std::array<Count, kDurationBounds.size() + 1> by_bucket_;
  Count nanoseconds_;
};

// By the index of spec::Action's alternative.
inline constexpr std::array<std::string_view, 3> kActionNames = {"exec", "sleep", "call"};
static_assert(kActionNames.size() == std::variant_size_v<spec::Action>);

// By spec::Kind.
inline constexpr std::array<std::string_view, 3> kKindNames = {"group", "map", "action"};

// Where a node was when a deadline of its own passed.
enum class DeadlineAt : uint8_t { kQueue, kRun };

struct EngineStats {
  // By NodeState; of terminal ones.
  std::array<DurationHistogram, 8> job_seconds;
  // Nodes that were opened, items included, by spec::Kind and NodeState.
  std::array<std::array<Count, 8>, kKindNames.size()> nodes_finished;
  // By action and v1::AttemptState. A `finally` is none.
  std::array<std::array<Count, v1::AttemptState_ARRAYSIZE>, kActionNames.size()> attempts;
  std::array<DurationHistogram, kActionNames.size()> attempt_seconds;
  Count retries;
  // Attempts that were taken down, by CauseKind; and from the cancellation until nothing was left.
  std::array<Count, 10> cancels;
  DurationHistogram cancel_seconds;
  std::array<Count, 2> deadlines;  // by DeadlineAt
  // Processes alive after SIGKILL, now; and those of them whose attempt was cancelled.
  Count unkillable;
  Count cancel_survivors;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_ENGINE_STATS_H_
