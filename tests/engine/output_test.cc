#include "server/engine/output.h"

#include <gtest/gtest.h>

#include <string>

#include "server/engine/limits.h"

namespace nursery::engine {
namespace {

TEST(OutputTest, IsReadPieceByPiece) {
  Output output(/*keep_whole=*/false, kOutputSpool);
  output.Append("hello ");
  output.Append("world");
  EXPECT_EQ(output.Read(0, 4).data, "hell");
  const OutputPiece rest = output.Read(4, 100);
  EXPECT_EQ(rest.data, "o world");
  EXPECT_EQ(rest.end(), 11);
  EXPECT_EQ(output.Read(11, 100).data, "");
  // An offset beyond the end is the end.
  EXPECT_EQ(output.Read(99, 100).offset, 11);
}

TEST(OutputTest, WhatIsNotKeptIsSkipped) {
  Output output(/*keep_whole=*/false, kOutputSpool);
  std::string written;
  for (size_t i = 0; written.size() < kOutputHead + 3 * kOutputTail; ++i) {
    const std::string line = std::to_string(i) + "\n";
    written += line;
    output.Append(line);
  }
  std::string read;
  int64_t missing = 0;
  for (OutputPiece piece; read.size() + static_cast<size_t>(missing) < written.size();) {
    const int64_t at = piece.end();
    piece = output.Read(at, 1000);
    ASSERT_FALSE(piece.data.empty());
    missing += piece.offset - at;
    EXPECT_EQ(piece.data, written.substr(static_cast<size_t>(piece.offset), piece.data.size()));
    read += piece.data;
  }
  EXPECT_GE(read.size(), kOutputHead + kOutputTail);
  EXPECT_EQ(read.size() + static_cast<size_t>(missing), written.size());
}

TEST(OutputTest, TheWholeGoesAndItsEndsStay) {
  Output output(/*keep_whole=*/true, kOutputSpool);
  const std::string large(kOutputHead + kOutputTail + 2 * kOutputTail, 'x');
  output.Append(large);
  ASSERT_TRUE(output.Whole().ok());
  output.DropWhole();
  EXPECT_EQ(output.Whole().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(output.Open().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(output.Read(0, 10).data, "xxxxxxxxxx");
  EXPECT_EQ(output.total(), static_cast<int64_t>(large.size()));
  EXPECT_GE(output.size(), kOutputHead + kOutputTail);
  EXPECT_LT(output.size(), large.size());
}

TEST(OutputTest, RingsForEachAppendUntilItIsHeard) {
  Output output(/*keep_whole=*/false, kOutputSpool);
  const BellReceiver bell = output.Watch();
  EXPECT_FALSE(bell.TryReceive().ok());
  output.Append("a");
  output.Append("b");
  EXPECT_TRUE(bell.TryReceive().ok());
  EXPECT_FALSE(bell.TryReceive().ok());
}

TEST(OutputTest, TellsWhereItsLastLinesBegin) {
  Output output(/*keep_whole=*/false, kOutputSpool);
  EXPECT_EQ(output.StartOfLines(1), 0);
  output.Append("one\n\nthree");
  EXPECT_EQ(output.StartOfLines(0), 10);
  EXPECT_EQ(output.StartOfLines(1), 5);
  EXPECT_EQ(output.StartOfLines(2), 4);
  EXPECT_EQ(output.StartOfLines(9), 0);
  output.Append("\n");
  EXPECT_EQ(output.StartOfLines(1), 5);
}

TEST(BellsTest, ForgetWatchersThatHaveGone) {
  Bells bells;
  const auto [sender, receiver] = MakeChannel<Tick>(1);
  bells.Add(sender);
  for (int i = 0; i < 1000; ++i) static_cast<void>(bells.Watch());
  EXPECT_LT(bells.watchers(), 20u);
  bells.Ring();
  EXPECT_TRUE(receiver.TryReceive().ok());
}

}  // namespace
}  // namespace nursery::engine
