#include "nursery/core/async.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "nursery/testing/seeds.h"

namespace nursery {
namespace {

Async<int> Twice(int n) { co_return 2 * n; }

Async<std::unique_ptr<std::string>> Boxed(std::string text) {
  co_return std::make_unique<std::string>(std::move(text));
}

Async<int> Count(int depth) {
  if (depth == 0) co_return 0;
  int below = co_await Count(depth - 1);
  co_return below + 1;
}

Async<void> Throw() {
  throw std::runtime_error("no such luck");
  co_return;
}

SEEDED_TEST(AsyncTest, GivesItsValue) {
  int four = co_await Twice(2);
  EXPECT_EQ(four, 4);
  std::unique_ptr<std::string> text = co_await Boxed("moved");
  EXPECT_EQ(*text, "moved");
  co_return absl::OkStatus();
}

SEEDED_TEST(AsyncTest, ExceptionsPassThroughTheAwait) {
  std::string caught;
  try {
    co_await Throw();
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  EXPECT_EQ(caught, "no such luck");
  co_return absl::OkStatus();
}

TEST(AsyncTest, OneNotAwaitedNeverRuns) {
  auto ran = std::make_shared<bool>(false);
  auto body = [](std::shared_ptr<bool> flag) -> Async<void> {
    *flag = true;
    co_return;
  };
  {
    Async<void> dropped = body(ran);
  }
  EXPECT_FALSE(*ran);
  EXPECT_EQ(ran.use_count(), 1) << "the frame was leaked";
}

TEST(AsyncTest, DeepChainsThatEndAtOnceCostNoStack) {
  SeededExecutor executor(1);
  int depth = 0;
  absl::Status status = executor.Run("deep", [&depth](Context) {
    return [](int* result) -> Async<absl::Status> {
      // A loop of 100,000 awaits that complete synchronously, each of a small chain.
      for (int i = 0; i < 100'000; ++i) *result += co_await Count(3);
      co_return absl::OkStatus();
    }(&depth);
  });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(depth, 300'000);
}

TEST(AsyncTest, AnExceptionOfTheRootIsAnInternalError) {
  SeededExecutor executor(1);
  absl::Status status = executor.Run("root", [](Context) -> Async<absl::Status> {
    co_await Throw();
    co_return absl::OkStatus();
  });
  EXPECT_EQ(status, Error(absl::StatusCode::kInternal, "exception: no such luck"));
}

}  // namespace
}  // namespace nursery
