#include "nursery/core/internal/registry.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "nursery/core/executor.h"
#include "nursery/core/internal/breather.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/internal/thread_variable.h"
#include "nursery/core/status.h"

namespace nursery::internal {
namespace {

// About as long as it takes to wake a thread that sleeps for the lock.
constexpr int kYields = 64;

struct AllRegistries {
  Mutex mutex;
  CondVar visit_ended;
  List<TaskRegistry> list NURSERY_GUARDED_BY(mutex);
};

AllRegistries& All() {
  static AllRegistries& all = *new AllRegistries;  // never destroyed: executors may be static too
  return all;
}

uint64_t NewNumber() {
  static std::atomic<uint64_t> last = 0;
  return last.fetch_add(1, std::memory_order_relaxed) + 1;  // only unique
}

NURSERY_THREAD_VARIABLE uint32_t thread_number = 0;

// Threads in turn, from 1.
uint32_t NumberOfThread() {
  static constinit std::atomic<uint32_t> last = 0;
  if (thread_number == 0) thread_number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return thread_number;
}

bool IsEarlier(const TaskEntry& one, const TaskEntry& other) { return one.id < other.id; }

// Merges the shards, which come one behind the other, each of them in order: `starts` says where.
void SortById(std::vector<TaskEntry>& tasks, const std::vector<size_t>& starts) {
  if (starts.size() <= 1) return;
  struct Run {
    TaskEntry* next;
    TaskEntry* end;
  };
  std::vector<Run> runs;
  TaskEntry* end = tasks.data() + tasks.size();
  for (auto start = starts.rbegin(); start != starts.rend(); ++start) {
    runs.push_back({tasks.data() + *start, end});
    end = runs.back().next;
  }
  std::vector<TaskEntry> sorted;
  sorted.reserve(tasks.size());
  const auto is_later = [](const Run& one, const Run& other) {
    return IsEarlier(*other.next, *one.next);
  };
  std::make_heap(runs.begin(), runs.end(), is_later);
  Breather breather;
  while (!runs.empty()) {
    std::pop_heap(runs.begin(), runs.end(), is_later);
    Run& run = runs.back();
    const bool alone = runs.size() == 1;
    // Up to where another one goes on.
    do {
      sorted.push_back(std::move(*run.next++));
      breather.Step();
    } while (run.next != run.end && (alone || IsEarlier(*run.next, *runs.front().next)));
    if (run.next == run.end) {
      runs.pop_back();
    } else {
      std::push_heap(runs.begin(), runs.end(), is_later);
    }
  }
  tasks.swap(sorted);
}

// A task that was seen without its parent has ended since, and the parent after it.
void DropOrphans(std::vector<TaskEntry>& tasks) {
  auto kept = tasks.begin();
  uint64_t known = 0;  // the parent of the last one
  Breather breather;
  for (TaskEntry& task : tasks) {
    breather.Step();
    if (task.parent_id != 0 && task.parent_id != known) {
      const auto parent = std::lower_bound(
          tasks.begin(), kept, task.parent_id,
          [](const TaskEntry& entry, uint64_t wanted) { return entry.id < wanted; });
      if (parent == kept || parent->id != task.parent_id) continue;
      known = task.parent_id;
    }
    if (&*kept != &task) *kept = std::move(task);
    ++kept;
  }
  tasks.erase(kept, tasks.end());
}

}  // namespace

// A mutex goes to who comes first, and one that walks comes back at once: whoever wants the lock
// meanwhile says so.
class TaskRegistry::Hurry {
 public:
  explicit Hurry(const TaskRegistry& registry)
      : hurried_(registry.walking_.load(std::memory_order_relaxed) > 0 ? &registry.hurried_
                                                                       : nullptr) {
    // Relaxed: a hint; what is shared is under the lock.
    if (hurried_ != nullptr) hurried_->fetch_add(1, std::memory_order_relaxed);
  }
  Hurry(const Hurry&) = delete;
  Hurry& operator=(const Hurry&) = delete;
  ~Hurry() {
    if (hurried_ != nullptr) hurried_->fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<int>* const hurried_;
};

TaskRegistry::TaskRegistry(const Clock& clock, int64_t limit)
    : clock_(clock),
      number_(NewNumber()),
      limit_(limit),
      free_places_(limit + (PLANTED(task_limit_off_by_one) ? 1 : 0)) {
  MutexLock lock(All().mutex);
  All().list.PushBack(this);
}

TaskRegistry::~TaskRegistry() {
  AllRegistries& all = All();
  MutexLock lock(all.mutex);
  while (visits_ > 0) all.visit_ended.Wait(all.mutex);
  Unlink();
  NURSERY_CHECK(live() == 0) << live() << " tasks outlive their executor";
}

int64_t TaskRegistry::live() const {
  int64_t sum = 0;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    sum += shard.live;
  }
  return sum;
}

// Of one registry after the other, each of which stays while it is visited. Holds no lock
// meanwhile: a visit may be long, and is in nobody's way.
class TaskRegistry::Visit {
 public:
  Visit() {
    MutexLock lock(All().mutex);
    Enter(All().list.front());
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  ~Visit() {
    MutexLock lock(All().mutex);
    Leave();
  }

  // Null: that was the last.
  const TaskRegistry* at() const { return at_; }
  void GoOn() {
    MutexLock lock(All().mutex);
    TaskRegistry* const next = All().list.next(at_);
    Leave();
    Enter(next);
  }

 private:
  // Under the lock.
  void Enter(TaskRegistry* registry) {
    at_ = registry;
    if (at_ != nullptr) ++at_->visits_;
  }
  void Leave() {
    if (at_ != nullptr && --at_->visits_ == 0) All().visit_ended.NotifyAll();
  }

  TaskRegistry* at_ = nullptr;
};

void TaskRegistry::ForEach(absl::FunctionRef<void(const TaskRegistry&)> visit) {
  for (Visit each; each.at() != nullptr; each.GoOn()) visit(*each.at());
}

TaskRegistry::Shard& TaskRegistry::ChooseShard(TaskRecord* task) {
  task->spawned = clock_.RecordNow();
  task->since.store(task->spawned, std::memory_order_relaxed);
  const uint32_t own = NumberOfThread() % kShards;
  // Relaxed: a hint.
  const bool walked = shards_[own].walkers.load(std::memory_order_relaxed) > 0;
  task->shard = walked ? WithoutWalk(own) : own;
  return shards_[task->shard];
}

uint32_t TaskRegistry::WithoutWalk(uint32_t shard) const {
  for (size_t i = 1; i < kShards; ++i) {
    shard = (shard + 1) % kShards;
    if (shards_[shard].walkers.load(std::memory_order_relaxed) == 0) break;
  }
  return shard;
}

bool TaskRegistry::Add(TaskRecord* task) {
  if (!kKeepsRecords) return true;
  Shard& shard = ChooseShard(task);
  {
    const Hurry hurry(*this);
    MutexLock lock(shard.mutex);
    if (TakePlace(shard)) {
      Insert(shard, task);
      return true;
    }
  }
  GatherPlaces();
  MutexLock lock(shard.mutex);
  if (!TakePlace(shard)) return false;
  Insert(shard, task);
  return true;
}

void TaskRegistry::AddBeyondLimit(TaskRecord* task) {
  if (!kKeepsRecords) return;
  if (Add(task)) return;
  Shard& shard = shards_[task->shard];
  const Hurry hurry(*this);
  MutexLock lock(shard.mutex);
  free_places_.fetch_sub(1, std::memory_order_relaxed);
  Insert(shard, task);
}

bool TaskRegistry::TakePlace(Shard& shard) {
  constexpr auto kTakers = static_cast<int64_t>(2 * kShards);
  if (shard.places == 0) {
    int64_t free = free_places_.load(std::memory_order_relaxed);
    int64_t taken;
    do {
      taken = free <= 0 ? 0 : std::clamp<int64_t>(free / kTakers, 1, kPlaces);
    } while (!free_places_.compare_exchange_weak(free, free - taken, std::memory_order_relaxed));
    shard.places = taken;
  }
  if (shard.places == 0) return false;
  --shard.places;
  return true;
}

void TaskRegistry::GatherPlaces() {
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    free_places_.fetch_add(std::exchange(shard.places, 0), std::memory_order_relaxed);
  }
}

absl::Status TaskRegistry::FullStatus() const {
  return Error(absl::StatusCode::kResourceExhausted,
               "the executor is at its limit of " + std::to_string(limit_) + " live tasks");
}

void TaskRegistry::Insert(Shard& shard, TaskRecord* task) {
  task->id = last_id_.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (task->parent_id == 0) task->root_id = task->id;
  ++shard.live;
  shard.tasks.PushBack(task);
}

void TaskRegistry::Remove(TaskRecord* task) {
  if (!kKeepsRecords) return;
  Shard& shard = shards_[task->shard];
  const Hurry hurry(*this);
  MutexLock lock(shard.mutex);
  --shard.live;
  if (free_places_.load(std::memory_order_relaxed) < 0) {
    free_places_.fetch_add(1, std::memory_order_relaxed);
  } else if (++shard.places > 2 * kPlaces) {
    shard.places -= kPlaces;
    free_places_.fetch_add(kPlaces, std::memory_order_relaxed);
  }
  for (Walk* walk = shard.walks.front(); walk != nullptr; walk = shard.walks.next(walk)) {
    if (walk->next_ != task) continue;
    walk->next_ = shard.tasks.next(task);
    if (PLANTED(walk_skips_one) && walk->next_ != nullptr)
      walk->next_ = shard.tasks.next(walk->next_);
  }
  task->Unlink();
}

TaskRegistry::Walk::Walk(const TaskRegistry& registry)
    // Whoever has an id by now is counted by the lock of its shard.
    : registry_(registry), last_id_(registry.last_id()), live_(registry.live()) {
  registry_.walking_.fetch_add(1, std::memory_order_relaxed);
  Enter(0);
}

TaskRegistry::Walk::~Walk() {
  Leave();
  registry_.walking_.fetch_sub(1, std::memory_order_relaxed);
}

void TaskRegistry::Walk::Enter(size_t shard) {
  shard_ = shard;
  const Shard& entered = registry_.shards_[shard];
  MutexLock lock(entered.mutex);
  next_ = entered.tasks.front();
  entered.walks.PushBack(this);
  entered.walkers.fetch_add(1, std::memory_order_relaxed);
}

void TaskRegistry::Walk::Leave() {
  const Shard& left = registry_.shards_[shard_];
  MutexLock lock(left.mutex);
  Unlink();
  left.walkers.fetch_sub(1, std::memory_order_relaxed);
}

bool TaskRegistry::Walk::Next(Look look, int size) {
  {
    const Shard& shard = registry_.shards_[shard_];
    MutexLock lock(shard.mutex);
    for (; size > 0; --size) {
      // What was spawned since stands behind, or the walk might never end.
      if (next_ == nullptr || next_->id > last_id_) break;
      look(*next_);
      next_ = shard.tasks.next(next_);
    }
  }
  if (size == 0) return true;
  if (shard_ + 1 == kShards) return false;
  Leave();
  Enter(shard_ + 1);
  return true;
}

void TaskRegistry::Walk::Rest(Look look) {
  Breather breather;
  while (Next(look)) {
    registry_.LetOthersGoFirst();
    breather.Breathe();
  }
}

void TaskRegistry::LetOthersGoFirst() const {
  for (int i = 0; i < kYields && hurried_.load(std::memory_order_relaxed) > 0; ++i) sched_yield();
}

void TaskRegistry::ForEachTask(Look look) const { Walk(*this).Rest(look); }

TaskStats TaskRegistry::Stats() const {
  TaskStats stats;
  const Time now = clock_.RecordNow();
  Walk walk(*this);
  walk.Rest([&stats, now](const TaskRecord& task) {
    const Doing doing = task.state.load(std::memory_order_relaxed);
    const auto reason = static_cast<size_t>(doing.reason);
    ++stats.live;
    ++stats.by_state[static_cast<size_t>(doing.state)];
    ++stats.by_reason[reason];
    Duration& oldest = stats.oldest[reason];
    oldest = std::max(oldest, now - task.since.load(std::memory_order_relaxed));
    if (IsStuck(task.context->cancel_time(), now, kStuckGrace)) ++stats.stuck;
  });
  stats.created = static_cast<int64_t>(walk.last_id());
  return stats;
}

int64_t TaskRegistry::CountStuck(Duration grace) const {
  int64_t stuck = 0;
  const Time now = clock_.RecordNow();
  ForEachTask([&stuck, now, grace](const TaskRecord& task) {
    if (IsStuck(task.context->cancel_time(), now, grace)) ++stuck;
  });
  return stuck;
}

TaskSnapshot TaskRegistry::Snapshot() const {
  TaskSnapshot snapshot;
  snapshot.registry = number_;
  Walk walk(*this);
  // Under a lock nothing is moved.
  snapshot.tasks.reserve(static_cast<size_t>(walk.live()));
  std::vector<TaskEntry>& tasks = snapshot.tasks;
  std::vector<size_t> starts;  // of what is in order
  walk.Rest([&tasks, &starts](const TaskRecord& task) {
    if (tasks.empty() || task.id < tasks.back().id) starts.push_back(tasks.size());
    tasks.push_back(EntryOf(task));
  });
  SortById(tasks, starts);
  DropOrphans(tasks);
  snapshot.taken = clock_.Now();
  return snapshot;
}

std::optional<Stall> TaskRegistry::Describe(const std::atomic<const TaskRecord*>& running) const {
  std::optional<Stall> stall;
  const auto look = [&](const TaskRecord& task) {
    // Under the lock of its shard, so it lives; relaxed: only the address counts.
    if (&task != running.load(std::memory_order_relaxed)) return;
    stall.emplace();
    stall->id = task.id;
    stall->name = task.name;
    const std::source_location line = task.line.load(std::memory_order_relaxed);
    if (line.line() != 0) stall->at = LineText(line);
    stall->spawned_at = LineText(task.spawn_site);
  };
  // Who asks has no time: timers wait for it.
  Walk walk(*this);
  while (!stall && walk.Next(look)) LetOthersGoFirst();
  return stall;
}

std::string TaskRegistry::Dump() const { return RenderText(Snapshot()); }

TaskEntry EntryOf(const TaskRecord& task) {
  TaskEntry entry;
  entry.id = task.id;
  entry.parent_id = task.parent_id;
  entry.name = task.name;
  entry.spawn_site = task.spawn_site;
  entry.line = task.line.load(std::memory_order_relaxed);
  entry.owner = task.owner;
  // Acquire, and in this order: whoever sees that it waits has seen how often it has.
  const Doing doing = task.state.load(std::memory_order_acquire);
  entry.waits = task.waits.load(std::memory_order_relaxed);
  entry.state = doing.state;
  entry.reason = doing.reason;
  entry.object = task.object.load(std::memory_order_relaxed);
  entry.since = task.since.load(std::memory_order_relaxed);
  entry.spawned = task.spawned;
  entry.deadline = task.context->deadline();
  entry.cancel_time = task.context->cancel_time();
  return entry;
}

std::vector<TaskSnapshot> SnapshotAll() {
  std::vector<TaskSnapshot> snapshots;
  TaskRegistry::ForEach(
      [&snapshots](const TaskRegistry& registry) { snapshots.push_back(registry.Snapshot()); });
  return snapshots;
}

}  // namespace nursery::internal
