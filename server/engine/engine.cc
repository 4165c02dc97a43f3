#include "server/engine/engine.h"

#include <algorithm>
#include <chrono>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/engine/consumed.h"
#include "server/spec/limits.h"

namespace nursery::engine {

Engine::Engine(EngineOptions options) : options_(std::move(options)), random_(options_.seed) {
  NURSERY_CHECK(options_.clock != nullptr && options_.actions != nullptr &&
                options_.store != nullptr);
  for (const auto& [name, slots] : options_.pools) {
    pools_[name] = std::make_unique<Pool>(name, slots);
  }
  for (const spec::Semaphore& each : options_.semaphores) {
    semaphores_.push_back(std::make_shared<NamedSemaphore>(each, *options_.clock));
  }
  NURSERY_CHECK(pools_.contains("default")) << "nodes that name no pool use 'default'";
}

double Engine::Random() {
  MutexLock lock(mutex_);
  return std::uniform_real_distribution<double>(0, 1)(random_);
}

// As a UUIDv7: 48 bits of milliseconds, then chance; 26 characters of Crockford's base 32, so that
// ids sort by time and can be read aloud.
std::string Engine::NewId() {
  static constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const auto now = options_.clock->WallNow().time_since_epoch();
  const auto millis =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  MutexLock lock(mutex_);
  std::string id;
  for (int shift = 45; shift >= 0; shift -= 5) id += kDigits[(millis >> shift) & 31];
  for (int i = 0; i < 16; ++i) id += kDigits[random_() & 31];
  return id;
}

absl::Status Engine::AddSemaphores(const spec::Job& job, Runtime& runtime) const {
  for (const spec::Semaphore& each : job.semaphores) {
    if (!each.of_server) {
      runtime.semaphores.push_back(std::make_shared<NamedSemaphore>(each, clock()));
      continue;
    }
    const auto found = std::find_if(
        semaphores_.begin(), semaphores_.end(),
        [&each](const auto& semaphore) { return semaphore->spec().name == each.name; });
    if (found == semaphores_.end()) {
      return Error(absl::StatusCode::kInvalidArgument,
                   "no semaphore '" + each.name + "' in this server");
    }
    runtime.semaphores.push_back(*found);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Job>> Engine::Admit(std::shared_ptr<const spec::Job> spec,
                                                   JobOptions options) {
  std::string id = NewId();
  std::shared_ptr<EventLog> log = options_.store->Open(id);
  auto tree = std::make_unique<Tree>(std::move(id), spec, *options_.clock, std::move(log), changed_,
                                     stats_);
  Runtime runtime(*tree);
  runtime.actions = options_.actions;
  runtime.containment = options_.containment;
  runtime.random = [this] { return Random(); };
  for (const std::string& name : spec->pools) {
    const auto pool = pools_.find(name);
    if (pool == pools_.end()) {
      return Error(absl::StatusCode::kInvalidArgument, "no pool '" + name + "' in this server");
    }
    runtime.pools.push_back(pool->second.get());
    runtime.cleanup_slots.push_back(std::make_unique<Semaphore>(spec::kCleanupSlots));
  }
  NURSERY_RETURN_IF_ERROR(AddSemaphores(*spec, runtime));
  runtime.consumed = ConsumedOutputs(*spec);
  {
    MutexLock lock(mutex_);
    runtime.fair_key = ++jobs_;
  }
  options.default_timeout = std::min(options.default_timeout, options_.default_job_timeout);
  return std::make_shared<Job>(std::move(tree), std::move(runtime), std::move(options),
                               options_.data_dir);
}

std::vector<std::pair<std::string, PoolStats>> Engine::Pools() const {
  std::vector<std::pair<std::string, PoolStats>> pools;
  for (const auto& [name, pool] : pools_) pools.emplace_back(name, pool->Stats());
  return pools;
}

void Engine::ResizePools(const std::map<std::string, int64_t>& slots) {
  for (const auto& [name, pool] : pools_) {
    if (const auto found = slots.find(name); found != slots.end()) pool->Resize(found->second);
  }
}

std::vector<SemaphoreView> Engine::Semaphores() const {
  std::vector<SemaphoreView> views;
  for (const auto& semaphore : semaphores_) views.push_back(semaphore->View());
  return views;
}

std::vector<std::string> Engine::PoolNames() const {
  std::vector<std::string> names;
  for (const auto& [name, pool] : pools_) names.push_back(name);
  return names;
}

}  // namespace nursery::engine
