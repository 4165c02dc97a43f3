// Tasks, jobs, nodes and pools.
#include "server/ops/collect.h"

namespace nursery::ops {

using engine::NodeState;

namespace {

constexpr NodeState kLiveStates[] = {NodeState::kPending, NodeState::kRunning, NodeState::kEnding};
constexpr NodeState kEndStates[] = {NodeState::kSucceeded, NodeState::kFailed,
                                    NodeState::kCancelled, NodeState::kDeadlineExceeded,
                                    NodeState::kSkipped};
// A job never ends as skipped.
constexpr std::span<const NodeState> kJobEnds(kEndStates, 4);
constexpr engine::CauseKind kCancelCauses[] = {
    engine::CauseKind::kCancelled, engine::CauseKind::kDeadline, engine::CauseKind::kDrain,
    engine::CauseKind::kSiblingFailed, engine::CauseKind::kGroupDecided};
constexpr std::pair<v1::AttemptState, const char*> kAttemptEnds[] = {
    {v1::ATTEMPT_STATE_SUCCEEDED, "succeeded"},
    {v1::ATTEMPT_STATE_FAILED, "failed"},
    {v1::ATTEMPT_STATE_TIMED_OUT, "timed_out"},
    {v1::ATTEMPT_STATE_CANCELLED, "cancelled"},
    {v1::ATTEMPT_STATE_INTERRUPTED, "interrupted"}};

template <class Array>
auto& At(Array& by_state, NodeState state) {
  return by_state[static_cast<size_t>(state)];
}

void AddHistogram(Family family, const DurationHistogram& histogram) {
  using Seconds = std::chrono::duration<double>;
  std::array<double, DurationHistogram::kBuckets - 1> bounds;
  for (size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] = Seconds(DurationHistogram::UpperBound(static_cast<int>(i))).count();
  }
  family.Add({}, bounds, histogram.counts, Seconds(histogram.sum).count());
}

void CollectScheduler(const SchedulerStats& stats, Families& families) {
  families.Gauge("nursery_sched_threads", "Threads that run tasks.")
      .Add({}, int64_t{stats.threads});
  AddHistogram(families.Histogram("nursery_sched_latency_seconds",
                                  "From runnable to running, of a sample of the tasks."),
               stats.latency);
  AddHistogram(families.Histogram("nursery_sched_slice_seconds",
                                  "How long a task kept its thread, of a sample."),
               stats.slices);
  families
      .Counter("nursery_sched_long_slices_total",
               "Times that a task was seen to keep its thread for more than 10 ms.")
      .Add({}, stats.long_slices);
  families.Counter("nursery_sched_stalled_seconds_total", "How long tasks kept their threads so.")
      .Add({}, std::chrono::duration<double>(stats.stalled).count());
}

}  // namespace

void CollectTasks(const Executor& executor, Families& families) {
  const TaskStats stats = executor.Stats();
  Family tasks = families.Gauge("nursery_tasks", "Live tasks by state.");
  for (size_t i = 0; i < stats.by_state.size(); ++i) {
    tasks.Add({{"state", std::string(Name(static_cast<TaskState>(i)))}}, stats.by_state[i]);
  }
  const auto by_reason = [](Family family, const auto& value_of) {
    for (size_t i = 0; i < kWaitReasonCount; ++i) {
      if (static_cast<WaitReason>(i) == WaitReason::kNone) continue;
      family.Add({{"reason", std::string(Name(static_cast<WaitReason>(i)))}}, value_of(i));
    }
  };
  by_reason(families.Gauge("nursery_tasks_waiting", "Waiting tasks by what they wait for."),
            [&](size_t i) { return stats.by_reason[i]; });
  by_reason(families.Gauge("nursery_tasks_oldest_seconds",
                           "How long the longest waiting task has waited; 0: none waits."),
            [&](size_t i) { return std::chrono::duration<double>(stats.oldest[i]).count(); });
  families
      .Gauge("nursery_tasks_stuck",
             "Tasks that live although they were cancelled more than a minute ago.")
      .Add({}, stats.stuck);
  families.Counter("nursery_tasks_created_total", "Tasks that were spawned.")
      .Add({}, stats.created);
  families.Counter("nursery_tasks_finished_total", "Tasks that have ended.")
      .Add({}, stats.created - stats.live);
  CollectScheduler(stats.scheduler, families);
}

void CollectJobs(engine::JobTable& table, Families& families) {
  std::array<int64_t, 8> jobs{};
  std::array<int64_t, 8> nodes{};
  for (const std::shared_ptr<engine::Job>& job : table.Live()) {
    ++At(jobs, job->state());
    const std::array<int64_t, 8> counts = job->NodeCounts();
    for (size_t i = 0; i < counts.size(); ++i) nodes[i] += counts[i];
  }
  Family by_state = families.Gauge("nursery_jobs", "Live jobs by state.");
  for (const NodeState state : {NodeState::kRunning, NodeState::kEnding}) {
    by_state.Add({{"state", LabelOf(Name(state))}}, At(jobs, state));
  }
  Family node_states = families.Gauge(
      "nursery_nodes", "Nodes of live jobs that have not ended, by state; items of maps apart.");
  for (const NodeState state : kLiveStates) {
    node_states.Add({{"state", LabelOf(Name(state))}}, At(nodes, state));
  }
  const engine::TableStats stats = table.Stats();
  families.Counter("nursery_jobs_submitted_total", "Jobs that were admitted.")
      .Add({}, stats.submitted);
  Family finished = families.Counter("nursery_jobs_finished_total", "Jobs that have ended.");
  for (const NodeState state : kJobEnds) {
    finished.Add({{"outcome", LabelOf(Name(state))}}, At(stats.finished, state));
  }
  Family seconds = families.Histogram("nursery_job_duration_seconds",
                                      "From a job's admission until nothing of it was left.");
  for (const NodeState state : kJobEnds) {
    seconds.Add({{"outcome", LabelOf(Name(state))}},
                At(table.engine().stats().job_seconds, state).Read());
  }
}

void CollectNodes(const engine::EngineStats& stats, Families& families) {
  Family finished = families.Counter(
      "nursery_nodes_finished_total",
      "Nodes that have ended, items of maps included; what never opened is not counted.");
  for (size_t kind = 0; kind < engine::kKindNames.size(); ++kind) {
    for (const NodeState state : kEndStates) {
      finished.Add(
          {{"kind", std::string(engine::kKindNames[kind])}, {"outcome", LabelOf(Name(state))}},
          At(stats.nodes_finished[kind], state).Read());
    }
  }
  Family attempts = families.Counter("nursery_attempts_total", "Attempts that have ended.");
  for (size_t i = 0; i < engine::kActionNames.size(); ++i) {
    for (const auto& [state, outcome] : kAttemptEnds) {
      attempts.Add({{"action", std::string(engine::kActionNames[i])}, {"outcome", outcome}},
                   stats.attempts[i][static_cast<size_t>(state)].Read());
    }
  }
  Family durations = families.Histogram("nursery_attempt_duration_seconds",
                                        "From an attempt's start until nothing of it was left.");
  for (size_t i = 0; i < engine::kActionNames.size(); ++i) {
    durations.Add({{"action", std::string(engine::kActionNames[i])}},
                  stats.attempt_seconds[i].Read());
  }
  families.Counter("nursery_retries_total", "Attempts that were followed by another.")
      .Add({}, stats.retries.Read());
  Family cancels = families.Counter("nursery_cancels_total",
                                    "Running attempts that were taken down, by who decided it.");
  for (const engine::CauseKind cause : kCancelCauses) {
    cancels.Add({{"cause", std::string(Name(cause))}},
                stats.cancels[static_cast<size_t>(cause)].Read());
  }
  families
      .Histogram("nursery_cancel_duration_seconds",
                 "From the cancellation of an attempt until nothing of it was left.")
      .Add({}, stats.cancel_seconds.Read());
  families.Gauge("nursery_unkillable", "Processes that are alive after SIGKILL.")
      .Add({}, stats.unkillable.Read());
  families
      .Gauge("nursery_cancel_survivors",
             "Those of them that belong to an attempt that was cancelled.")
      .Add({}, stats.cancel_survivors.Read());
}

void CollectPools(const engine::Engine& engine, Families& families) {
  const auto pools = engine.Pools();
  const auto each = [&pools](Family family, const auto& value_of) {
    for (const auto& [name, stats] : pools) family.Add({{"pool", name}}, value_of(stats));
  };
  using engine::PoolStats;
  each(families.Gauge("nursery_pool_slots", "Slots of a pool."),
       [](const PoolStats& stats) { return stats.slots; });
  each(families.Gauge("nursery_pool_slots_in_use", "Slots that attempts occupy."),
       [](const PoolStats& stats) { return stats.in_use; });
  each(families.Gauge("nursery_pool_queue_length", "Nodes that wait for a slot."),
       [](const PoolStats& stats) { return stats.waiting; });
  each(families.Histogram("nursery_pool_wait_seconds", "What nodes waited for the slot they got."),
       [](const PoolStats& stats) { return stats.waits; });
}

void CollectSemaphores(const engine::Engine& engine, Families& families) {
  const std::vector<engine::SemaphoreView> views = engine.Semaphores();
  const auto each = [&views](Family family, const auto& value_of) {
    for (const engine::SemaphoreView& view : views) {
      family.Add({{"semaphore", view.name}}, value_of(view));
    }
  };
  using engine::SemaphoreView;
  each(families.Gauge("nursery_semaphore_permits", "Permits of a semaphore of the server."),
       [](const SemaphoreView& view) { return view.size; });
  each(families.Gauge("nursery_semaphore_held", "Permits that nodes hold."),
       [](const SemaphoreView& view) { return view.held; });
  each(families.Gauge("nursery_semaphore_waiters", "Nodes that wait for permits."),
       [](const SemaphoreView& view) { return static_cast<int64_t>(view.waiters.size()); });
  each(families.Histogram("nursery_semaphore_wait_seconds",
                          "What nodes waited for the permits they got."),
       [](const SemaphoreView& view) { return view.waits; });
}

}  // namespace nursery::ops
