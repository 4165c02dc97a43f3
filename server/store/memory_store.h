// MemoryStore: for ephemeral jobs. Each job keeps its latest events up to a bound in bytes, and its
// log dies with the job.
//
// Thread safety: any thread.
#ifndef NURSERY_SERVER_STORE_MEMORY_STORE_H_
#define NURSERY_SERVER_STORE_MEMORY_STORE_H_

#include "server/engine/store.h"

namespace nursery::store {

class MemoryStore final : public engine::Store {
 public:
  // Keeps about `bytes_per_job` of events.
  explicit MemoryStore(size_t bytes_per_job) : bytes_per_job_(bytes_per_job) {}

  std::shared_ptr<engine::EventLog> Open(std::string_view job) override;
  void Delete(std::string_view) override {}

 private:
  const size_t bytes_per_job_;
};

}  // namespace nursery::store

#endif  // NURSERY_SERVER_STORE_MEMORY_STORE_H_
