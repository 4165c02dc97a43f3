// Readiness of file descriptors: epoll, one waiter for each descriptor and direction.
//
// Thread safety: any thread; Poll from one thread at a time.
#ifndef NURSERY_CORE_INTERNAL_POLLER_H_
#define NURSERY_CORE_INTERNAL_POLLER_H_

#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <unordered_map>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "nursery/core/clock.h"
#include "nursery/core/mutex.h"
#include "nursery/core/task.h"

namespace nursery::internal {

class Wait;

enum class IoDirection : uint8_t { kRead, kWrite };

// What a task that waits for `fd` waits on, for dumps; null is for nothing.
inline const void* DescriptorAsObject(int fd) {
  return std::bit_cast<const void*>(static_cast<uintptr_t>(fd) + 1);
}
// Nothing: it is an object with an address.
inline std::optional<int> ObjectAsDescriptor(const void* object) {
  const uintptr_t number = std::bit_cast<uintptr_t>(object) - 1;
  if (number > std::numeric_limits<int>::max()) return std::nullopt;
  return static_cast<int>(number);
}

class Poller {
 public:
  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Fires `wait` when `fd` is ready. FAILED_PRECONDITION when somebody waits there already; what
  // epoll refuses (a regular file) is always ready and gives ALREADY_EXISTS.
  absl::Status Add(int fd, IoDirection direction, Wait& wait) NURSERY_EXCLUDES(mutex_);
  // Forgets `wait` if it is still there.
  void Remove(int fd, IoDirection direction, Wait& wait) NURSERY_EXCLUDES(mutex_);

  // Waits for readiness, Interrupt, or `timeout` (negative: for ever), and collects whom it wakes.
  // Calls `waited` in between, while those are still among the waiters.
  void Poll(
      Duration timeout, WakeList& wake, absl::FunctionRef<void()> waited = [] {})
      NURSERY_EXCLUDES(mutex_);
  // Makes the current or the next Poll return at once.
  void Interrupt();

  size_t waiters() const NURSERY_EXCLUDES(mutex_);

 private:
  struct Entry {
    Wait* reader = nullptr;
    Wait* writer = nullptr;
    bool registered = false;
  };
  absl::Status Arm(int fd, Entry& entry) NURSERY_REQUIRES(mutex_);
  void Ready(int fd, uint32_t events, WakeList& wake) NURSERY_REQUIRES(mutex_);

  const int epoll_;
  const int interrupt_;
  mutable Mutex mutex_;
  std::unordered_map<int, Entry> entries_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_POLLER_H_
