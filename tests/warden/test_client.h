// TestClient: the server's end of the warden's socket, one packet at a time, for tests.
//
// Every wait is bounded by kPatience and fails the test with what it waited for.
#ifndef NURSERY_TESTS_WARDEN_TEST_CLIENT_H_
#define NURSERY_TESTS_WARDEN_TEST_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "server/warden/channel.h"
#include "server/warden/process_host.h"
#include "server/warden/process_spec.h"
#include "server/warden/start_warden.h"

namespace nursery::warden {

// For an overloaded machine under a sanitizer; the waits take milliseconds.
inline constexpr std::chrono::seconds kPatience{30};

// Waits until `fd` is readable or hung up.
bool AwaitReadable(int fd);

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};
Pipe MakePipe();

// The live child of this process, of which there is one: the warden.
pid_t OnlyChild();

// What works here, weakest first: kGroup and kSubreaper everywhere, kCgroup where this process may
// make cgroups.
std::vector<Level> LevelsHere();

// The path of a file in build/<preset>/bin.
std::string BuiltBinary(const std::string& name);

// With cgroups where this process may make some.
ProcessHost::Options HostOptions(const std::string& warden = BuiltBinary("nursery-warden"));

struct Stdio {
  int in = -1;
  int out = -1;
  int err = -1;
};

class TestClient {
 public:
  explicit TestClient(const std::vector<int>& hold_fds = {}, Level level = Level::kNone);
  // Closes the socket and waits until the warden has ended.
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  const WardenProcess& warden() const { return warden_; }
  // The warden's cgroup; empty if it has none.
  const std::string& run_cgroup() const { return run_cgroup_; }
  int socket() const { return channel_.fd(); }

  // Gives the attempt's number.
  uint64_t Spawn(const ProcessSpec& spec, const Stdio& stdio = {});
  void Send(PacketType type, uint64_t attempt);
  void SendWithFds(const Packet& packet, std::span<const int> fds);

  // The next packet of `type` for `attempt`; others are kept for later calls.
  std::optional<Packet> Await(PacketType type, uint64_t attempt = 0);
  // The packet that names the next one that has escaped. On a busy machine some may have been told
  // before that were only slow to die.
  std::optional<Packet> AwaitEscaped(uint64_t attempt);

  // What the server's death looks like to the warden.
  void CloseSocket() { channel_.Close(); }
  // Reaps the warden; false if it has not ended in time.
  bool AwaitWardenEnd();

 private:
  const std::string run_cgroup_;
  WardenProcess warden_;
  Channel channel_;
  std::deque<Packet> kept_;
  uint64_t last_attempt_ = 0;
};

// Reads `fd` to its end, or until `lines` lines have come.
std::string ReadAll(int fd);
std::string ReadLines(int fd, int lines);

// A mark for argv that no other process has, and the search for it.
std::string NewMark();
std::vector<pid_t> FindMarked(const std::string& mark);

}  // namespace nursery::warden

#endif  // NURSERY_TESTS_WARDEN_TEST_CLIENT_H_
