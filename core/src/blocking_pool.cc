#include "nursery/core/internal/blocking_pool.h"

#include <utility>

namespace nursery::internal {

BlockingPool::~BlockingPool() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  ready_.NotifyAll();
  for (std::thread& thread : threads) thread.join();
}

void BlockingPool::Run(absl::AnyInvocable<void() &&> work) {
  MutexLock lock(mutex_);
  queue_.push_back(std::move(work));
  const bool more = static_cast<int>(queue_.size()) > idle_;
  if (more && static_cast<int>(threads_.size()) < max_threads_) {
    threads_.emplace_back([this] { Serve(); });
  }
  ready_.NotifyOne();
}

void BlockingPool::Serve() {
  for (;;) {
    absl::AnyInvocable<void() &&> work;
    {
      MutexLock lock(mutex_);
      ++idle_;
      while (queue_.empty() && !stopping_) ready_.Wait(mutex_);
      --idle_;
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    std::move(work)();
  }
}

}  // namespace nursery::internal
