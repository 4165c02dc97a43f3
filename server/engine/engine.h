// Engine: what jobs share (pools, actions, store) and where they are admitted.
//
// Thread safety: any thread. Lifetime: outlives its jobs.
//
//   Engine engine(options);
//   absl::StatusOr<std::shared_ptr<Job>> job = engine.Admit(spec, JobOptions());
#ifndef NURSERY_SERVER_ENGINE_ENGINE_H_
#define NURSERY_SERVER_ENGINE_ENGINE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "absl/status/statusor.h"
#include "nursery/core/mutex.h"
#include "server/engine/job.h"
#include "server/engine/limits.h"

namespace nursery::engine {

struct EngineOptions {
  EngineOptions() = default;

  const Clock* clock = nullptr;  // required; so are actions and store
  ActionRunner* actions = nullptr;
  Store* store = nullptr;
  // Slots by name; `default` must be there.
  std::map<std::string, int64_t> pools;
  // Those of the server, by rank.
  std::vector<spec::Semaphore> semaphores;
  // Of a job that says none.
  Duration default_job_timeout = kDefaultJobTimeout;
  // Where jobs get directories of their own.
  std::string data_dir = "/tmp";
  uint64_t seed = 0;  // of ids and of jitter
  // How processes are contained, for receipts.
  std::function<v1::Containment()> containment = [] { return v1::CONTAINMENT_UNSPECIFIED; };
};

class Engine {
 public:
  explicit Engine(EngineOptions options);

  // INVALID_ARGUMENT: it names a pool or a semaphore that does not exist.
  absl::StatusOr<std::shared_ptr<Job>> Admit(std::shared_ptr<const spec::Job> spec,
                                             JobOptions options);

  // Drops what is kept of a job that has ended.
  void Forget(const std::string& id) { options_.store->Delete(id); }

  // A bell that rings whenever something happened in any job.
  BellReceiver WatchAll() { return changed_.Watch(); }

  const Clock& clock() const { return *options_.clock; }
  const EngineStats& stats() const { return stats_; }
  Duration default_job_timeout() const { return options_.default_job_timeout; }
  v1::Containment containment() const { return options_.containment(); }
  std::vector<std::string> PoolNames() const;
  // Pools of other names are passed over.
  void ResizePools(const std::map<std::string, int64_t>& slots);
  // By name.
  std::vector<std::pair<std::string, PoolStats>> Pools() const;
  // Those of the server, by rank.
  std::vector<SemaphoreView> Semaphores() const;

 private:
  absl::Status AddSemaphores(const spec::Job& job, Runtime& runtime) const;
  std::string NewId() NURSERY_EXCLUDES(mutex_);
  double Random() NURSERY_EXCLUDES(mutex_);

  const EngineOptions options_;
  EngineStats stats_;
  std::map<std::string, std::unique_ptr<Pool>> pools_;       // constant after construction
  std::vector<std::shared_ptr<NamedSemaphore>> semaphores_;  // constant after construction
  Bells changed_;
  Mutex mutex_;
  std::mt19937_64 random_ NURSERY_GUARDED_BY(mutex_);
  uint64_t jobs_ NURSERY_GUARDED_BY(mutex_) = 0;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_ENGINE_H_
