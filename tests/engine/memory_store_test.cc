// A log of several blocks: what is read across them, what goes when there are too many, and packed.
#include "server/store/memory_store.h"

#include <gtest/gtest.h>

#include "nursery/core/status.h"

namespace nursery::store {
namespace {

using engine::EventBatch;
using engine::EventLog;

constexpr int kEvents = 40;

v1::Event EventOf(int64_t seq) {
  v1::Event event;
  event.set_seq(seq);
  event.mutable_node_started()->set_path("node" + std::to_string(seq));
  return event;
}

// In blocks of 256 bytes, about ten events each.
std::shared_ptr<EventLog> Filled(int64_t events) {
  std::shared_ptr<EventLog> log = MemoryStore(4096).Open("job");
  for (int64_t seq = 1; seq <= events; ++seq) {
    EXPECT_TRUE(log->Append(EventOf(seq)).ok()) << seq;
  }
  return log;
}

// "first..last" of what was read, which has no gap and is what was written.
std::string Read(const EventLog& log, int64_t after, size_t limit) {
  absl::StatusOr<EventBatch> batch = log.Read(after, limit);
  EXPECT_TRUE(batch.ok()) << batch.status();
  if (batch->events.empty()) return "nothing";
  const int64_t first = batch->events.front().seq();
  int64_t seq = first;
  for (const v1::Event& event : batch->events) {
    EXPECT_EQ(event.SerializeAsString(), EventOf(seq).SerializeAsString());
    ++seq;
  }
  return std::to_string(first) + ".." + std::to_string(seq - 1);
}

int64_t OldestOf(const EventLog& log) {
  absl::StatusOr<EventBatch> batch = log.Read(0, 1);
  EXPECT_TRUE(batch.ok()) << batch.status();
  return batch->oldest_seq;
}

TEST(MemoryStoreTest, ReadsAcrossBlocksPackedOrNot) {
  const std::shared_ptr<EventLog> log = Filled(kEvents);
  const size_t size = log->size();
  for (int packed = 0; packed < 2; ++packed) {
    EXPECT_EQ(OldestOf(*log), 1);
    for (int after = 0; after < kEvents; ++after) {
      for (int limit = 1; after + limit <= kEvents; ++limit) {
        ASSERT_EQ(Read(*log, after, static_cast<size_t>(limit)),
                  std::to_string(after + 1) + ".." + std::to_string(after + limit));
      }
    }
    EXPECT_EQ(Read(*log, kEvents - 1, 1000), "40..40");
    EXPECT_EQ(Read(*log, kEvents, 1000), "nothing");
    EXPECT_EQ(Read(*log, kEvents + 1, 1000), "nothing");
    log->Pack();
  }
  EXPECT_LT(log->size(), size);
}

TEST(MemoryStoreTest, TheOldestBlocksGoAndLeaveAGap) {
  constexpr int64_t kMany = 1000;
  const std::shared_ptr<EventLog> log = Filled(kMany);
  EXPECT_LE(log->size(), 4096u);
  const int64_t oldest = OldestOf(*log);
  EXPECT_GT(oldest, 700);
  EXPECT_LT(oldest, 950);
  const std::string all = std::to_string(oldest) + "..1000";
  EXPECT_EQ(Read(*log, 0, 1000), all);
  log->Pack();
  EXPECT_EQ(OldestOf(*log), oldest);
  EXPECT_EQ(Read(*log, 0, 1000), all);
  EXPECT_EQ(Read(*log, 995, 2), "996..997");
}

TEST(MemoryStoreTest, AnEmptyLogHasNoGap) {
  const std::shared_ptr<EventLog> log = Filled(0);
  EXPECT_EQ(OldestOf(*log), 1);
  EXPECT_EQ(Read(*log, 0, 10), "nothing");
  log->Pack();
  EXPECT_EQ(OldestOf(*log), 1);
}

TEST(MemoryStoreDeathTest, APackedLogTakesNoMore) {
  const std::shared_ptr<EventLog> log = Filled(1);
  log->Pack();
  EXPECT_DEATH(log->Append(EventOf(2)).IgnoreError(), "an event of a job that has ended");
}

}  // namespace
}  // namespace nursery::store
