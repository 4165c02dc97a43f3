#include "nursery/core/internal/blocking_pool.h"

#include <system_error>
#include <utility>

#include "nursery/core/check.h"

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
  const bool more = static_cast<int>(queue_.size()) >= idle_;
  if (more && static_cast<int>(threads_.size()) < max_threads_) {
    try {
      threads_.emplace_back([this] { Serve(); });
    } catch (const std::system_error& error) {
      // The system has no thread left: those that are there do the work, later.
      NURSERY_CHECK(!threads_.empty()) << "cannot start a first thread: " << error.what();
    }
  }
  queue_.push_back(std::move(work));
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
