#include "nursery/core/internal/frame_pool.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sched.h>

#include <thread>
#include <utility>
#include <vector>

#include "nursery/core/executor.h"

namespace nursery::internal {
namespace {

constexpr size_t kBytes = 1000;
constexpr size_t kBlocks = 400;

std::vector<void*> Allocate() {
  std::vector<void*> blocks(kBlocks);
  for (void*& block : blocks) block = AllocateFrame(kBytes);
  return blocks;
}

void Free(const std::vector<void*>& blocks) {
  for (void* block : blocks) FreeFrame(block, kBytes);
}

// Each round has blocks of this thread that another one gives back, which takes none and ends.
void ExpectNothingIsKept(void (*round)()) {
  round();
  const size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 10; ++i) round();
  EXPECT_LT(mallinfo2().uordblks, before + kBytes * kBlocks);
}

TEST(FramePoolTest, AThreadThatOnlyGivesBackKeepsNothingBeyondItsEnd) {
  ExpectNothingIsKept([] {
    const std::vector<void*> blocks = Allocate();
    std::thread([&blocks] { Free(blocks); }).join();
  });
}

struct FreedLate {
  ~FreedLate() { Free(blocks); }
  std::vector<void*> blocks;
};

void FreeWhileVariablesDie(std::vector<void*> blocks) {
  thread_local FreedLate late;
  late.blocks = std::move(blocks);
}

TEST(FramePoolTest, WhatAThreadGivesBackWhileItsVariablesDieIsNotKept) {
  ExpectNothingIsKept([] {
    std::thread([blocks = Allocate()]() mutable {
      FreeWhileVariablesDie(std::move(blocks));
    }).join();
  });
}

// What was kept before has gone by then.
TEST(FramePoolTest, NorIsWhatItGivesBackAfterThePoolHasClosed) {
  ExpectNothingIsKept([] {
    std::thread([blocks = Allocate()]() mutable {
      FreeWhileVariablesDie(std::move(blocks));
      FreeFrame(AllocateFrame(kBytes), kBytes);
    }).join();
  });
}

TEST(FramePoolTest, WhatAThreadOnlyGivesBackIsTakenByAnother) {
  constexpr size_t kSize = 1100;
  constexpr size_t kMany = 1024;
  std::vector<void*> blocks(kMany);
  for (void*& block : blocks) block = AllocateFrame(kSize);
  std::thread([&blocks] {
    for (void* block : blocks) FreeFrame(block, kSize);
  }).join();
  const size_t before = mallinfo2().uordblks;
  blocks.resize(kMany / 2);
  for (void*& block : blocks) block = AllocateFrame(kSize);
  EXPECT_LT(mallinfo2().uordblks, before + 100 * kSize);
  for (void* block : blocks) FreeFrame(block, kSize);
}

// More than is kept for good, also by a thread.
constexpr size_t kManyBlocks = 10'000;
constexpr size_t kKeptForGood = (size_t{1} << 20) + 512 * kBytes;

// How many calls that takes. Other tests leave some, too.
int FreeAllSpareFrames() {
  int calls = 0;
  for (; HasSpareFrames(); ++calls) FreeSpareFrames();
  return calls;
}

size_t BytesLeftByManyBlocks() {
  const size_t before = mallinfo2().uordblks;
  std::vector<void*> blocks(kManyBlocks);
  for (void*& block : blocks) block = AllocateFrame(kBytes);
  for (void* block : blocks) FreeFrame(block, kBytes);
  blocks = {};
  return mallinfo2().uordblks - before;
}

TEST(FramePoolTest, WhatManyHaveLeftIsKeptAndGivenBackBitByBit) {
  FreeAllSpareFrames();
  const size_t before = mallinfo2().uordblks;
  EXPECT_GT(BytesLeftByManyBlocks(), kManyBlocks * kBytes / 2);
  EXPECT_GT(FreeAllSpareFrames(), 1);
  EXPECT_LT(mallinfo2().uordblks, before + kKeptForGood + 10'000);
}

TEST(FramePoolTest, AnExecutorThatHasNothingToDoGivesItBack) {
  BytesLeftByManyBlocks();
  EXPECT_TRUE(HasSpareFrames());
  const ThreadExecutor executor(1);
  while (HasSpareFrames()) sched_yield();
}

TEST(FramePoolTest, AnExecutorThatEndsGivesItBack) {
  {
    const ThreadExecutor executor(1);
    BytesLeftByManyBlocks();
  }
  EXPECT_FALSE(HasSpareFrames());
}

TEST(FramePoolTest, WhatIsTakenAgainIsNotSpare) {
  FreeAllSpareFrames();
  BytesLeftByManyBlocks();
  EXPECT_TRUE(HasSpareFrames());
  std::vector<void*> blocks(kManyBlocks);
  for (void*& block : blocks) block = AllocateFrame(kBytes);
  EXPECT_FALSE(HasSpareFrames());
  for (void* block : blocks) FreeFrame(block, kBytes);
  FreeAllSpareFrames();
}

TEST(FramePoolTest, NoMoreIsKeptThanSixtyFourMebibytes) {
  FreeAllSpareFrames();
  const size_t before = mallinfo2().uordblks;
  std::vector<void*> blocks(10 * kManyBlocks);
  for (void*& block : blocks) block = AllocateFrame(kBytes);
  for (void* block : blocks) FreeFrame(block, kBytes);
  blocks = {};
  EXPECT_LT(mallinfo2().uordblks, before + (size_t{64} << 20) + kKeptForGood + 10'000);
  FreeAllSpareFrames();
}

}  // namespace
}  // namespace nursery::internal
