// LeakCheck: fails a test binary that ends with more tasks, child processes or descriptors than it
// began with. The main() of nursery_testing adds it.
// LeakFreeTest: a fixture that fails each test that leaves tasks behind, in an executor which lives
// on, as one that a suite shares. Tests that run side by side below roots of their own use leak.h.
//
// Thread safety: one thread.
//
//   testing::AddGlobalTestEnvironment(new LeakCheck);
//
//   class SessionTest : public LeakFreeTest {};
//   TEST_F(SessionTest, ClosesWhatItOpened) {
#ifndef NURSERY_TESTING_LEAK_CHECK_H_
#define NURSERY_TESTING_LEAK_CHECK_H_

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "nursery/core/leak.h"

namespace nursery {

class LeakCheck : public testing::Environment {
 public:
  void SetUp() override;
  void TearDown() override;

  // One line for each leak since SetUp, none when all is well.
  std::vector<std::string> FindLeaks() const;

 private:
  std::set<int> descriptors_;
};

class LeakFreeTest : public testing::Test {
 protected:
  // A fixture with a TearDown of its own calls this one last.
  void TearDown() override;

  // The tasks that were spawned since the fixture was made, and live.
  std::vector<leak::LiveTask> FindLeaks() const { return leak::Verify(mark_); }

 private:
  const leak::Mark mark_ = leak::Mark::OfProcess();
};

}  // namespace nursery

#endif  // NURSERY_TESTING_LEAK_CHECK_H_
