#include "tests/warden/test_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <utility>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/warden/process_tree.h"
#include "server/warden/run_cgroup.h"

namespace nursery::warden {
namespace {

bool AwaitEvent(int fd, short events) {
  pollfd event = {fd, events, 0};
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience);
  return poll(&event, 1, static_cast<int>(timeout.count())) == 1;
}

std::string NewRunCgroup(Level level) {
  const CgroupPlace place = FindOwnCgroup();
  const bool wanted = level == Level::kNone || level == Level::kCgroup;
  if (place.directory.empty() || !wanted) return "";
  absl::StatusOr<std::string> path = MakeRunCgroup(place.directory);
  NURSERY_CHECK(path.ok()) << Message(path.status());
  return *std::move(path);
}

WardenProcess StartBuiltWarden(const std::vector<int>& hold_fds, Level level,
                               const std::string& run_cgroup) {
  WardenSettings settings;
  settings.hold_fds = hold_fds;
  settings.level = level;
  settings.run_cgroup = run_cgroup;
  absl::StatusOr<WardenProcess> warden = StartWarden(BuiltBinary("nursery-warden"), settings);
  NURSERY_CHECK(warden.ok()) << Message(warden.status());
  return *std::move(warden);
}

}  // namespace

bool AwaitReadable(int fd) { return AwaitEvent(fd, POLLIN); }

pid_t OnlyChild() {
  pid_t child = -1;
  VisitDescendants(getpid(), [&child](const ProcessInfo& process) {
    if (process.parent == getpid() && !process.dead) child = process.pid;
  });
  NURSERY_CHECK(child > 0) << "a signal to -1 would go to everybody";
  return child;
}

Pipe MakePipe() {
  int ends[2];
  NURSERY_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string BuiltBinary(const std::string& name) {
  const char* directory = std::getenv("NURSERY_BIN");
  NURSERY_CHECK(directory != nullptr)
      << "run through ctest, or set NURSERY_BIN to build/<preset>/bin";
  return std::string(directory) + "/" + name;
}

std::vector<Level> LevelsHere() {
  if (FindOwnCgroup().directory.empty()) return {Level::kGroup, Level::kSubreaper};
  return {Level::kGroup, Level::kSubreaper, Level::kCgroup};
}

ProcessHost::Options HostOptions(const std::string& warden) {
  ProcessHost::Options options;
  options.executable = warden;
  options.cgroup = FindOwnCgroup().directory;
  return options;
}

TestClient::TestClient(const std::vector<int>& hold_fds, Level level)
    : run_cgroup_(NewRunCgroup(level)),
      warden_(StartBuiltWarden(hold_fds, level, run_cgroup_)),
      channel_(std::move(warden_.socket)) {}

TestClient::~TestClient() {
  CloseSocket();
  NURSERY_CHECK(AwaitWardenEnd()) << "the warden did not end after its socket was closed";
}

uint64_t TestClient::Spawn(const ProcessSpec& spec, const Stdio& stdio) {
  const absl::StatusOr<UniqueFd> file = MakeSpecFile(spec);
  NURSERY_CHECK(file.ok()) << Message(file.status());
  Packet packet;
  packet.type = PacketType::kSpawn;
  packet.attempt = ++last_attempt_;
  std::vector<int> fds = {file->get()};
  const std::pair<int, uint16_t> given[] = {
      {stdio.in, kHasStdin}, {stdio.out, kHasStdout}, {stdio.err, kHasStderr}};
  for (const auto& [fd, flag] : given) {
    if (fd < 0) continue;
    fds.push_back(fd);
    packet.flags |= flag;
  }
  SendWithFds(packet, fds);
  return packet.attempt;
}

void TestClient::Send(PacketType type, uint64_t attempt) {
  Packet packet;
  packet.type = type;
  packet.attempt = attempt;
  SendWithFds(packet, {});
}

void TestClient::SendWithFds(const Packet& packet, std::span<const int> fds) {
  while (!channel_.TrySend(packet, fds)) NURSERY_CHECK(AwaitEvent(channel_.fd(), POLLOUT));
}

std::optional<Packet> TestClient::AwaitEscaped(uint64_t attempt) {
  std::optional<Packet> survivor;
  do {
    survivor = Await(PacketType::kSurvivor, attempt);
  } while (survivor && ((survivor->flags & kEscaped) == 0 || (survivor->flags & kGoesOn) != 0));
  return survivor;
}

std::optional<Packet> TestClient::Await(PacketType type, uint64_t attempt) {
  const auto wanted = [&](const Packet& packet) {
    return packet.type == type && packet.attempt == attempt;
  };
  for (auto kept = kept_.begin(); kept != kept_.end(); ++kept) {
    if (!wanted(*kept)) continue;
    const Packet packet = *kept;
    kept_.erase(kept);
    return packet;
  }
  while (true) {
    ReceivedPacket received;
    switch (channel_.Receive(&received)) {
      case Channel::Result::kPacket:
        if (wanted(received.packet)) return received.packet;
        kept_.push_back(received.packet);
        break;
      case Channel::Result::kEmpty:
        if (!AwaitReadable(channel_.fd())) return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
  }
}

bool TestClient::AwaitWardenEnd() {
  if (warden_.pid < 0) return true;
  if (!AwaitReadable(warden_.pidfd.get())) return false;
  return waitpid(std::exchange(warden_.pid, -1), nullptr, 0) > 0;
}

std::string ReadAll(int fd) { return ReadLines(fd, std::numeric_limits<int>::max()); }

std::string ReadLines(int fd, int lines) {
  std::string text;
  char byte;
  while (lines > 0 && AwaitReadable(fd) && read(fd, &byte, 1) == 1) {
    text += byte;
    lines -= byte == '\n' ? 1 : 0;
  }
  return text;
}

std::string NewMark() {
  static std::atomic<int> last = 0;
  return "mark-" + std::to_string(getpid()) + "-" + std::to_string(++last) + "-end";
}

std::vector<pid_t> FindMarked(const std::string& mark) {
  std::vector<ProcessInfo> live;
  VisitProcesses([&](const ProcessInfo& process) {
    if (!process.dead) live.push_back(process);
  });
  const std::vector<std::string> commands = CommandLines(live);
  std::vector<pid_t> found;
  for (size_t i = 0; i < live.size(); ++i) {
    if (commands[i].find(mark) != std::string::npos) found.push_back(live[i].pid);
  }
  return found;
}

}  // namespace nursery::warden
