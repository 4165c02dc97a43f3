#include "nursery/core/internal/frame_pool.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <thread>
#include <vector>

namespace nursery::internal {
namespace {

constexpr size_t kBytes = 1000;
constexpr size_t kBlocks = 400;

// One round: blocks of this thread, given back by one that takes none itself and ends.
void GiveBackElsewhere() {
  std::vector<void*> blocks(kBlocks);
  for (void*& block : blocks) block = AllocateFrame(kBytes);
  std::thread([&] {
    for (void* block : blocks) FreeFrame(block, kBytes);
  }).join();
}

TEST(FramePoolTest, AThreadThatOnlyGivesBackKeepsNothingBeyondItsEnd) {
  GiveBackElsewhere();
  const size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 10; ++i) GiveBackElsewhere();
  EXPECT_LT(mallinfo2().uordblks, before + kBytes * kBlocks);
}

}  // namespace
}  // namespace nursery::internal
