#include "nursery/core/internal/frame_pool.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <thread>
#include <utility>
#include <vector>

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

}  // namespace
}  // namespace nursery::internal
