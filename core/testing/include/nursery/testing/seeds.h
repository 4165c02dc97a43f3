// SEEDED_TEST: a test whose body is a coroutine that runs under many seeds. It fails at the first
// seed whose run returns an error, deadlocks or fails an expectation, and names that seed.
//
// NURSERY_SEEDS sets how many seeds (default 1,000), NURSERY_SEED runs just that one.
//
//   SEEDED_TEST(SemaphoreTest, IsFair) {   // (Context ctx, SeededExecutor& executor)
//     absl::Status slept = co_await Sleep(ctx, std::chrono::seconds(1));
//     EXPECT_TRUE(slept.ok());
//     co_return absl::OkStatus();
//   }
#ifndef NURSERY_TESTING_SEEDS_H_
#define NURSERY_TESTING_SEEDS_H_

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "nursery/testing/seeded_executor.h"

namespace nursery {

using SeededBody = std::function<Async<absl::Status>(Context ctx, SeededExecutor& executor)>;

// A crash under a seed names it too.
void RunSeeds(const SeededBody& body);

// The full names of all seeded tests, as in a filter of Google Test.
std::vector<std::string>& SeededTests();
// For the initializer of a static.
bool NoteSeededTest(std::string name);

}  // namespace nursery

#define SEEDED_TEST(suite, name)                                                             \
  static ::nursery::Async<absl::Status> suite##_##name(::nursery::Context ctx,               \
                                                       ::nursery::SeededExecutor& executor); \
  [[maybe_unused]] static const bool suite##_##name##_noted =                                \
      ::nursery::NoteSeededTest(#suite "." #name);                                           \
  TEST(suite, name) { ::nursery::RunSeeds(suite##_##name); }                                 \
  static ::nursery::Async<absl::Status> suite##_##name(                                      \
      [[maybe_unused]] ::nursery::Context ctx,                                               \
      [[maybe_unused]] ::nursery::SeededExecutor& executor)

#endif  // NURSERY_TESTING_SEEDS_H_
