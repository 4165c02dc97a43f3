#include "nursery/core/mutex.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace nursery {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 20'000;

struct Counted {
  Mutex mutex;
  int64_t count NURSERY_GUARDED_BY(mutex) = 0;
};

TEST(MutexTest, OneThreadAtATimeHasIt) {
  Counted counted;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&counted] {
      for (int round = 0; round < kRounds; ++round) {
        MutexLock lock(counted.mutex);
        const int64_t seen = counted.count;
        // Now and then so long that the others stop spinning and sleep.
        if (round % 16 == 0) sched_yield();
        counted.count = seen + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(counted.mutex);
  EXPECT_EQ(counted.count, int64_t{kThreads} * kRounds);
}

// Threads that go on in turn: whoever is not woken hangs.
struct Turns {
  Mutex mutex;
  CondVar changed;
  int next NURSERY_GUARDED_BY(mutex) = 0;
};

TEST(CondVarTest, EveryWaiterIsWoken) {
  constexpr int kTurns = 1000;
  Turns turns;
  std::vector<std::thread> threads;
  for (int self = 0; self < kThreads; ++self) {
    threads.emplace_back([&turns, self] {
      for (int turn = self; turn < kTurns; turn += kThreads) {
        MutexLock lock(turns.mutex);
        while (turns.next != turn) turns.changed.Wait(turns.mutex);
        ++turns.next;
        turns.changed.NotifyAll();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(turns.mutex);
  EXPECT_EQ(turns.next, kTurns);
}

}  // namespace
}  // namespace nursery
