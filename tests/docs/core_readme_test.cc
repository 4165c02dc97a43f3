// The C++ blocks of core/README.md, one after the other, and what their functions give.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "nursery/testing/seeds.h"
#include "readme_blocks.inc"

SEEDED_TEST(CoreReadmeTest, Group) {
  absl::StatusOr<std::string> both = co_await HomeAndNews(ctx);
  EXPECT_EQ(both.value(), "page home, page news");
  co_return absl::OkStatus();
}

SEEDED_TEST(CoreReadmeTest, Semaphore) {
  absl::StatusOr<int> most = co_await MostQueriesAtOnce(ctx);
  EXPECT_EQ(most.value(), 3);
  co_return absl::OkStatus();
}

SEEDED_TEST(CoreReadmeTest, Pipeline) {
  absl::StatusOr<std::vector<int>> squares = co_await OddSquares(ctx, 7);
  EXPECT_EQ(squares.value(), (std::vector<int>{1, 9, 25, 49}));
  co_return absl::OkStatus();
}

SEEDED_TEST(CoreReadmeTest, ParallelMap) {
  const std::vector<std::string> urls = {"a", "b", "c"};
  absl::StatusOr<std::vector<std::string>> pages = co_await FetchAll(ctx, urls);
  EXPECT_EQ(pages.value(), (std::vector<std::string>{"page a", "page b", "page c"}));
  const std::vector<std::string> bad = {"a", "", "c"};
  pages = co_await FetchAll(ctx, bad);
  EXPECT_TRUE(absl::IsNotFound(pages.status())) << pages.status();
  co_return absl::OkStatus();
}

SEEDED_TEST(CoreReadmeTest, WorkerPool) {
  absl::StatusOr<std::vector<int64_t>> words = co_await WordsOfAll(ctx);
  EXPECT_EQ(words.value(), (std::vector<int64_t>{2, 1, 3}));
  co_return absl::OkStatus();
}

TEST(CoreReadmeTest, Program) {
  const absl::Status status = RunProgram();
  EXPECT_TRUE(status.ok()) << status;
}
