#include "server/store/memory_store.h"

#include <algorithm>
#include <deque>
#include <string>

#include "nursery/core/check.h"
#include "nursery/core/mutex.h"
#include "nursery/core/status.h"

namespace nursery::store {
namespace {

class MemoryLog final : public engine::EventLog {
 public:
  explicit MemoryLog(size_t max_bytes) : max_bytes_(max_bytes) {}

  absl::Status Append(const v1::Event& event) override NURSERY_EXCLUDES(mutex_);
  absl::StatusOr<engine::EventBatch> Read(int64_t after, size_t limit) const override
      NURSERY_EXCLUDES(mutex_);

 private:
  const size_t max_bytes_;
  mutable Mutex mutex_;
  // Serialised: a tenth of the size of the objects.
  std::deque<std::string> events_ NURSERY_GUARDED_BY(mutex_);
  int64_t first_seq_ NURSERY_GUARDED_BY(mutex_) = 1;
  size_t bytes_ NURSERY_GUARDED_BY(mutex_) = 0;
};

absl::Status MemoryLog::Append(const v1::Event& event) {
  std::string bytes = event.SerializeAsString();
  MutexLock lock(mutex_);
  const int64_t next = first_seq_ + static_cast<int64_t>(events_.size());
  if (event.seq() != next) {
    return Error(
        absl::StatusCode::kAlreadyExists,
        "event " + std::to_string(event.seq()) + " where " + std::to_string(next) + " is next");
  }
  bytes_ += bytes.size();
  events_.push_back(std::move(bytes));
  while (bytes_ > max_bytes_ && events_.size() > 1) {
    bytes_ -= events_.front().size();
    events_.pop_front();
    ++first_seq_;
  }
  return absl::OkStatus();
}

absl::StatusOr<engine::EventBatch> MemoryLog::Read(int64_t after, size_t limit) const {
  MutexLock lock(mutex_);
  engine::EventBatch batch;
  batch.oldest_seq = first_seq_;
  const auto start = static_cast<size_t>(std::max<int64_t>(after + 1 - first_seq_, 0));
  for (size_t i = start; i < events_.size() && batch.events.size() < limit; ++i) {
    NURSERY_CHECK(batch.events.emplace_back().ParseFromString(events_[i]));
  }
  return batch;
}

}  // namespace

std::shared_ptr<engine::EventLog> MemoryStore::Open(std::string_view) {
  return std::make_shared<MemoryLog>(bytes_per_job_);
}

}  // namespace nursery::store
