// Store: where a job's events go before anything that follows from them leaves the process.
//
// Order of every change: decide, append, apply, durable, externalise. An event may be shown,
// acknowledged or acted upon outside only once Append has made it durable.
//
// Thread safety: any thread.
#ifndef NURSERY_SERVER_ENGINE_STORE_H_
#define NURSERY_SERVER_ENGINE_STORE_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nursery/v1/event.pb.h"

namespace nursery::engine {

// Events of one job in the order of their sequence numbers.
struct EventBatch {
  std::vector<v1::Event> events;
  // Events before this one are gone: a reader that asked for older ones has a gap.
  int64_t oldest_seq = 1;
};

// The events of one job.
class EventLog {
 public:
  virtual ~EventLog() = default;

  // Makes `event` durable as the store understands it. ALREADY_EXISTS when its seq is not the next
  // one; UNAVAILABLE when it cannot be kept: then nothing may follow from it.
  virtual absl::Status Append(const v1::Event& event) = 0;
  // Up to `limit` events with seq > `after`.
  virtual absl::StatusOr<EventBatch> Read(int64_t after, size_t limit) const = 0;
  // Nothing more will be appended and little read: takes less memory from now on.
  virtual void Pack() = 0;
  // What it takes of memory, in bytes.
  virtual size_t size() const = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  // The log of a new job.
  virtual std::shared_ptr<EventLog> Open(std::string_view job) = 0;
  // Forgets the job.
  virtual void Delete(std::string_view job) = 0;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_STORE_H_
