#include "nursery/core/internal/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>

#include "nursery/core/internal/wait.h"
#include "nursery/core/status.h"

namespace nursery::internal {

Poller::Poller()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), interrupt_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  NURSERY_CHECK(epoll_ >= 0 && interrupt_ >= 0) << "cannot make an epoll: out of descriptors";
  epoll_event event{.events = EPOLLIN, .data = {.fd = interrupt_}};
  NURSERY_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, interrupt_, &event) == 0);
}

Poller::~Poller() {
  NURSERY_CHECK(waiters() == 0) << "a poller died with waiters";
  close(interrupt_);
  close(epoll_);
}

absl::Status Poller::Arm(int fd, Entry& entry) {
  epoll_event event{.events = EPOLLONESHOT, .data = {.fd = fd}};
  if (entry.reader != nullptr) event.events |= EPOLLIN | EPOLLRDHUP;
  if (entry.writer != nullptr) event.events |= EPOLLOUT;
  const int operation = entry.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_, operation, fd, &event) == 0) {
    entry.registered = true;
    return absl::OkStatus();
  }
  if (errno == EPERM) return Error(absl::StatusCode::kAlreadyExists, "always ready");
  return ErrnoError(errno, "cannot wait for descriptor " + std::to_string(fd));
}

absl::Status Poller::Add(int fd, IoDirection direction, Wait& wait) {
  MutexLock lock(mutex_);
  Entry& entry = entries_[fd];
  Wait*& slot = direction == IoDirection::kRead ? entry.reader : entry.writer;
  if (slot != nullptr) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "descriptor " + std::to_string(fd) + " has a waiter already");
  }
  slot = &wait;
  absl::Status armed = Arm(fd, entry);
  if (armed.ok()) return armed;
  slot = nullptr;
  if (entry.reader == nullptr && entry.writer == nullptr) entries_.erase(fd);
  return armed;
}

void Poller::Remove(int fd, IoDirection direction, Wait& wait) {
  MutexLock lock(mutex_);
  auto found = entries_.find(fd);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  Wait*& slot = direction == IoDirection::kRead ? entry.reader : entry.writer;
  if (slot != &wait || PLANTED(io_wait_left_behind)) return;
  slot = nullptr;
  if (entry.reader != nullptr || entry.writer != nullptr) {
    NURSERY_CHECK(Arm(fd, entry).ok());
    return;
  }
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  entries_.erase(found);
}

void Poller::Ready(int fd, uint32_t events, WakeList& wake) {
  auto found = entries_.find(fd);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  constexpr uint32_t kBoth = EPOLLHUP | EPOLLERR;
  Wait* const reader = (events & (EPOLLIN | EPOLLRDHUP | kBoth)) != 0
                           ? std::exchange(entry.reader, nullptr)
                           : nullptr;
  Wait* const writer =
      (events & (EPOLLOUT | kBoth)) != 0 ? std::exchange(entry.writer, nullptr) : nullptr;
  if (entry.reader != nullptr || entry.writer != nullptr) {
    NURSERY_CHECK(Arm(fd, entry).ok());
  } else {
    // Removed at once: a descriptor number that is closed and reused must not find old state.
    epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    entries_.erase(found);
  }
  // Last: a waiter that is still arming goes on by itself, and may close the descriptor.
  if (reader != nullptr) reader->Fire(0, wake);
  if (writer != nullptr) writer->Fire(0, wake);
}

namespace {

// Negative: until something is ready.
int WaitForEvents(int epoll, epoll_event* events, int capacity, Duration timeout) {
  if (timeout < Duration::zero()) return epoll_wait(epoll, events, capacity, -1);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timespec limit{.tv_sec = seconds.count(), .tv_nsec = (timeout - seconds).count()};
  const int count = epoll_pwait2(epoll, events, capacity, &limit, nullptr);
  if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
  // Linux before 5.11, or a sandbox that knows no newer call: rounded up to milliseconds.
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  return epoll_wait(epoll, events, capacity, static_cast<int>(std::min<int64_t>(millis, 60'000)));
}

}  // namespace

void Poller::Poll(Duration timeout, WakeList& wake, absl::FunctionRef<void()> waited) {
  epoll_event events[64];
  const int count = WaitForEvents(epoll_, events, std::size(events), timeout);
  waited();
  MutexLock lock(mutex_);
  for (int i = 0; i < count; ++i) {
    if (events[i].data.fd == interrupt_) {
      uint64_t drained;
      [[maybe_unused]] ssize_t got = read(interrupt_, &drained, sizeof drained);
      continue;
    }
    Ready(events[i].data.fd, events[i].events, wake);
  }
}

void Poller::Interrupt() {
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t put = write(interrupt_, &one, sizeof one);
}

size_t Poller::waiters() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace nursery::internal
