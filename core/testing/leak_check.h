// LeakCheck: fails a test binary that ends with more tasks, child processes or descriptors than it
// began with. The main() of nursery_testing adds it.
//
// Thread safety: one thread.
//
//   testing::AddGlobalTestEnvironment(new LeakCheck);
#ifndef NURSERY_CORE_TESTING_LEAK_CHECK_H_
#define NURSERY_CORE_TESTING_LEAK_CHECK_H_

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

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

}  // namespace nursery

#endif  // NURSERY_CORE_TESTING_LEAK_CHECK_H_
