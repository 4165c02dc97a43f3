// MemoryStore: for ephemeral jobs. Each job keeps its latest events up to a bound in bytes.
//
// Thread safety: any thread.
#ifndef NURSERY_SERVER_STORE_MEMORY_STORE_H_
#define NURSERY_SERVER_STORE_MEMORY_STORE_H_

#include <deque>
#include <map>
#include <string>

#include "nursery/core/mutex.h"
#include "server/engine/store.h"

namespace nursery::store {

class MemoryStore final : public engine::Store {
 public:
  // Keeps about `bytes_per_job` of events.
  explicit MemoryStore(size_t bytes_per_job) : bytes_per_job_(bytes_per_job) {}

  absl::Status Append(std::string_view job, const v1::Event& event) override
      NURSERY_EXCLUDES(mutex_);
  absl::StatusOr<engine::EventBatch> Read(std::string_view job, int64_t after,
                                          size_t limit) const override NURSERY_EXCLUDES(mutex_);
  absl::Status Delete(std::string_view job) override NURSERY_EXCLUDES(mutex_);

 private:
  struct Log {
    std::deque<std::string> events;  // serialised: a tenth of the size of the objects
    int64_t first_seq = 1;
    size_t bytes = 0;
  };

  const size_t bytes_per_job_;
  mutable Mutex mutex_;
  std::map<std::string, Log, std::less<>> logs_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::store

#endif  // NURSERY_SERVER_STORE_MEMORY_STORE_H_
