#include "server/warden/channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

class ChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    ours_ = Channel(UniqueFd(ends[0]));
    theirs_ = Channel(UniqueFd(ends[1]));
  }

  void Queue(uint64_t count) {
    for (uint64_t i = 1; i <= count; ++i) {
      Packet packet;
      packet.attempt = i;
      ours_.Queue(packet);
    }
  }

  // The bytes of the next message; -1: there is none.
  ssize_t NextMessage() {
    char bytes[1024];
    return recv(theirs_.fd(), bytes, sizeof bytes, MSG_DONTWAIT);
  }

  Channel ours_{UniqueFd()};
  Channel theirs_{UniqueFd()};
};

TEST_F(ChannelTest, WhatIsQueuedTogetherIsOneMessage) {
  Queue(3);
  EXPECT_EQ(NextMessage(), -1) << "nothing is sent before Flush";
  ours_.Flush();
  EXPECT_EQ(ours_.queued(), 0u);
  EXPECT_EQ(NextMessage(), 3 * ssize_t{sizeof(Packet)});
  EXPECT_EQ(NextMessage(), -1);
}

TEST_F(ChannelTest, MoreThanAMessageHoldsIsSeveral) {
  Queue(kMaxPacketsAtOnce + 1);
  ours_.Flush();
  EXPECT_EQ(NextMessage(), ssize_t{kMaxPacketsAtOnce * sizeof(Packet)});
  EXPECT_EQ(NextMessage(), ssize_t{sizeof(Packet)});
}

TEST_F(ChannelTest, PacketsArriveInTheirOrder) {
  constexpr uint64_t kCount = 2 * kMaxPacketsAtOnce + 3;
  Queue(kCount);
  ours_.Flush();
  ReceivedPacket received;
  for (uint64_t i = 1; i <= kCount; ++i) {
    ASSERT_EQ(theirs_.Receive(&received), Channel::Result::kPacket);
    EXPECT_EQ(received.packet.attempt, i);
    // Of the last message three are left when its first has come.
    EXPECT_EQ(theirs_.has_received(), i % kMaxPacketsAtOnce != 0 && i != kCount);
  }
  EXPECT_EQ(theirs_.Receive(&received), Channel::Result::kEmpty);
}

TEST_F(ChannelTest, DescriptorsComeWithTheirPacket) {
  const Pipe pipe = MakePipe();
  Packet packet;
  packet.type = PacketType::kSpawn;
  const int fds[] = {pipe.reader.get()};
  ASSERT_TRUE(ours_.TrySend(packet, fds));
  Queue(1);
  ours_.Flush();
  ReceivedPacket received;
  ASSERT_EQ(theirs_.Receive(&received), Channel::Result::kPacket);
  EXPECT_EQ(received.fd_count, 1u);
  ASSERT_EQ(theirs_.Receive(&received), Channel::Result::kPacket);
  EXPECT_EQ(received.fd_count, 0u);
}

TEST_F(ChannelTest, AMessageOfAnotherSizeIsMalformed) {
  ReceivedPacket received;
  for (const size_t size :
       {size_t{1}, sizeof(Packet) + 1, (kMaxPacketsAtOnce + 1) * sizeof(Packet)}) {
    const std::string bytes(size, 'x');
    ASSERT_EQ(send(ours_.fd(), bytes.data(), size, 0), static_cast<ssize_t>(size));
    EXPECT_EQ(theirs_.Receive(&received), Channel::Result::kMalformed) << size;
  }
  Queue(1);
  ours_.Flush();
  EXPECT_EQ(theirs_.Receive(&received), Channel::Result::kPacket);
}

TEST_F(ChannelTest, TheLastWordsOfOneThatIsGoneAreReadBeforeItsEnd) {
  Queue(2);
  ours_.Flush();
  ours_.Close();
  ReceivedPacket received;
  EXPECT_EQ(theirs_.Receive(&received), Channel::Result::kPacket);
  EXPECT_EQ(theirs_.Receive(&received), Channel::Result::kPacket);
  EXPECT_EQ(theirs_.Receive(&received), Channel::Result::kClosed);
}

}  // namespace
}  // namespace nursery::warden
