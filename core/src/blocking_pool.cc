#include "nursery/core/internal/blocking_pool.h"

#include <system_error>
#include <utility>

#include "nursery/core/check.h"
#include "nursery/core/internal/asleep.h"

namespace nursery::internal {

BlockingPool::~BlockingPool() {
  const StayAwake until_the_threads_have_gone;
  std::vector<std::thread> threads;
  IdleThreads::Thread* wake;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
    wake = idle_.Take(max_threads_);
  }
  IdleThreads::Wake(wake);
  for (std::thread& thread : threads) thread.join();
}

void BlockingPool::Run(absl::AnyInvocable<void() &&> work) {
  IdleThreads::Thread* wake;
  {
    MutexLock lock(mutex_);
    wake = idle_.Take(1);
    if (wake == nullptr && static_cast<int>(threads_.size()) < max_threads_) StartThread();
    queue_.push_back(std::move(work));
    Awake::Enter();
  }
  IdleThreads::Wake(wake);
}

void BlockingPool::StartThread() {
  try {
    threads_.emplace_back([this] { Serve(); });
  } catch (const std::system_error& error) {
    // The system has no thread left: those that are there do the work, later.
    NURSERY_CHECK(!threads_.empty()) << "cannot start a first thread: " << error.what();
  }
}

void BlockingPool::Serve() {
  const KnownThread known;
  for (;;) {
    absl::AnyInvocable<void() &&> work;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) idle_.Wait(mutex_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    std::move(work)();
    work = nullptr;
    Awake::Leave();
  }
}

}  // namespace nursery::internal
