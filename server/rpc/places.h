// Places: so many of something at once, and who comes when all are taken is refused.
//
// Thread safety: any thread. Lifetime: outlives what holds a place.
//
//   const Places::Place place(watchers_);
//   if (!place.held()) co_return watchers_.Refusal("watchers");
#ifndef NURSERY_SERVER_RPC_PLACES_H_
#define NURSERY_SERVER_RPC_PLACES_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace nursery::rpc {

class Places {
 public:
  explicit Places(int64_t limit) : limit_(limit) {}

  // Given back when it dies.
  class Place {
   public:
    explicit Place(Places& of) : of_(of), held_(of.Take()) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
      if (held_) of_.taken_.fetch_sub(1);
    }
    bool held() const { return held_; }

   private:
    Places& of_;
    const bool held_;
  };

  int64_t taken() const { return taken_.load(); }
  // RESOURCE_EXHAUSTED, with a time to wait; `what`, as in "watchers".
  absl::Status Refusal(const std::string& what) const;

 private:
  bool Take();

  const int64_t limit_;
  std::atomic<int64_t> taken_{0};
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_PLACES_H_
