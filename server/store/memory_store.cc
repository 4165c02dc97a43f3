#include "server/store/memory_store.h"

#include <algorithm>

#include "nursery/core/check.h"
#include "nursery/core/status.h"

namespace nursery::store {
namespace {

absl::Status NoSuchJob(std::string_view job) {
  return Error(absl::StatusCode::kNotFound, "no events of job " + std::string(job));
}

}  // namespace

absl::Status MemoryStore::Append(std::string_view job, const v1::Event& event) {
  MutexLock lock(mutex_);
  Log& log = logs_.try_emplace(std::string(job)).first->second;
  const int64_t next = log.first_seq + static_cast<int64_t>(log.events.size());
  if (event.seq() != next) {
    return Error(
        absl::StatusCode::kAlreadyExists,
        "event " + std::to_string(event.seq()) + " where " + std::to_string(next) + " is next");
  }
  log.events.push_back(event.SerializeAsString());
  log.bytes += log.events.back().size();
  while (log.bytes > bytes_per_job_ && log.events.size() > 1) {
    log.bytes -= log.events.front().size();
    log.events.pop_front();
    ++log.first_seq;
  }
  return absl::OkStatus();
}

absl::StatusOr<engine::EventBatch> MemoryStore::Read(std::string_view job, int64_t after,
                                                     size_t limit) const {
  MutexLock lock(mutex_);
  const auto found = logs_.find(job);
  if (found == logs_.end()) return NoSuchJob(job);
  const Log& log = found->second;
  engine::EventBatch batch;
  batch.oldest_seq = log.first_seq;
  const int64_t start = std::max<int64_t>(after + 1 - log.first_seq, 0);
  for (auto i = static_cast<size_t>(start); i < log.events.size() && batch.events.size() < limit;
       ++i) {
    NURSERY_CHECK(batch.events.emplace_back().ParseFromString(log.events[i]));
  }
  return batch;
}

absl::Status MemoryStore::Delete(std::string_view job) {
  MutexLock lock(mutex_);
  const auto found = logs_.find(job);
  if (found == logs_.end()) return NoSuchJob(job);
  logs_.erase(found);
  return absl::OkStatus();
}

}  // namespace nursery::store
