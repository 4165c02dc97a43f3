#include "server/warden/reaper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <vector>

#include "server/warden/process_spec.h"
#include "server/warden/process_tree.h"

namespace nursery::warden {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// A killed process is gone within microseconds unless the machine is overloaded or the process
// hangs in the kernel. Both are worth telling; GONE still follows when it is over.
constexpr milliseconds kSurvivorsAfter{200};
// What the first signal to the group gets before /proc is searched for more.
constexpr milliseconds kFirstRoundAfter{1};
// Zombies reaped before looking at the socket again.
constexpr int kReapBatch = 256;

Usage ToUsage(const rusage& usage) {
  const auto microseconds = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_usec);
  };
  return {microseconds(usage.ru_utime), microseconds(usage.ru_stime),
          static_cast<uint64_t>(usage.ru_maxrss) * 1024};
}

// Maps the spec, privately: the strings of the decoded view lie in the mapping. The seals make sure
// that nobody shrinks the file under it.
std::optional<SpecView> LoadSpec(int fd) {
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
  struct stat status;
  const int seals = fcntl(fd, F_GET_SEALS);  // fails for everything but a memfd
  if (seals < 0 || (seals & kSeals) != kSeals || fstat(fd, &status) != 0) return std::nullopt;
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0 || size > kMaxSpecBytes) return std::nullopt;
  void* bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED) return std::nullopt;
  return DecodeSpec({static_cast<char*>(bytes), size});
}

class Reaper {
 public:
  explicit Reaper(ReaperOptions options)
      : options_(std::move(options)), control_(std::move(options_.control)) {}

  int Run();

 private:
  bool Start();
  void Report(PacketType type, Packet packet);
  void ReportFailure(Step step, int error);
  void Poll();
  int PollTimeout() const;
  void ReadControl();
  void Terminate();
  void BeginKill();
  void KillRound();
  void ReportSurvivors();
  void ReadLaunchReport();
  // Collects what has died. Returns false if no child is left, dead or alive.
  bool Reap();
  void ReapLeader();
  void ReportGone();

  ReaperOptions options_;
  Channel control_;
  UniqueFd signals_;
  UniqueFd launch_report_;

  pid_t leader_ = -1;           // -1 once reaped: its group may be somebody else's then
  bool started_ = false;        // the program runs or ran
  bool failed_ = false;         // SPAWN_FAILED is said
  bool told_to_end_ = false;    // TERM came: what the leader leaves behind has its grace, too
  uint64_t told_ = 0;           // how many processes lived then
  bool control_ended_ = false;  // KILL, or the warden's death
  bool killing_ = false;
  bool killed_ = false;  // SIGKILL went out to a live process
  bool survivors_named_ = false;
  bool more_zombies_ = false;
  uint32_t leftovers_ = 0;
  uint64_t killed_count_ = 0;
  Clock::time_point kill_start_;
  Clock::time_point first_round_;
};

int Reaper::Run() {
  prctl(PR_SET_NAME, "nursery-reaper");
  // The server's socket would hide its death from the warden, another reaper's socket would hide
  // the warden's from that reaper.
  std::vector<int> keep = options_.hold_fds;
  keep.push_back(control_.fd());
  keep.push_back(options_.spec.get());
  for (const UniqueFd& fd : options_.stdio) keep.push_back(fd.get());
  CloseFilesExcept(std::move(keep));
  if (!Start()) return 0;
  while (true) {
    Poll();
    ReadControl();
    ReadLaunchReport();
    if (!Reap()) break;
    if (killing_ && Clock::now() >= first_round_) KillRound();
  }
  ReportGone();
  return 0;
}

bool Reaper::Start() {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  signals_ = UniqueFd(signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC));
  int report[2];
  if (!signals_.valid() || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 ||
      pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0) {
    ReportFailure(Step::kReaper, errno);
    return false;
  }
  launch_report_ = UniqueFd(report[0]);
  UniqueFd report_writer(report[1]);
  const std::optional<SpecView> spec = LoadSpec(options_.spec.get());
  if (!spec) {
    ReportFailure(Step::kSpec, EINVAL);
    return false;
  }
  LaunchSite site;
  site.reaper = getpid();
  site.report_fd = report_writer.get();
  for (size_t i = 0; i < 3; ++i) site.stdio[i] = options_.stdio[i].get();
  leader_ = fork();
  if (leader_ == 0) Launch(*spec, options_.inherited, site);
  if (leader_ < 0) {
    ReportFailure(Step::kFork, errno);
    return false;
  }
  options_.spec.reset();
  // A reader sees the end of the task's output only when nobody else holds the writing end.
  for (UniqueFd& fd : options_.stdio) fd.reset();
  return true;
}

void Reaper::Report(PacketType type, Packet packet) {
  packet.type = type;
  packet.attempt = options_.spawn.attempt;
  control_.Send(packet);
}

void Reaper::ReportFailure(Step step, int error) {
  failed_ = true;
  Packet packet;
  packet.detail = static_cast<uint8_t>(step);
  packet.code = error;
  Report(PacketType::kSpawnFailed, packet);
}

int Reaper::PollTimeout() const {
  if (more_zombies_) return 0;
  if (!killing_) return -1;
  return static_cast<int>(TimeToNextRound(Clock::now() - kill_start_).count());
}

void Reaper::Poll() {
  const auto control_events =
      static_cast<short>((control_ended_ ? 0 : POLLIN) | (control_.queued() > 0 ? POLLOUT : 0));
  // A negative descriptor is passed over; a closed socket would report its hang-up for ever.
  pollfd fds[] = {{control_events != 0 ? control_.fd() : -1, control_events, 0},
                  {signals_.get(), POLLIN, 0},
                  {launch_report_.get(), POLLIN, 0}};
  poll(fds, std::size(fds), PollTimeout());
  signalfd_siginfo ignored;
  while (read(signals_.get(), &ignored, sizeof(ignored)) > 0) {
  }
  control_.Flush();
}

void Reaper::ReadControl() {
  ReceivedPacket received;
  while (!control_ended_) {
    switch (control_.Receive(&received)) {
      case Channel::Result::kPacket:
        if (received.packet.type == PacketType::kTerm) Terminate();
        break;
      case Channel::Result::kMalformed:
        break;
      case Channel::Result::kEmpty:
        return;
      case Channel::Result::kClosed:
        control_ended_ = true;
        BeginKill();
        return;
    }
  }
}

// Each process gets one SIGTERM: many take a second one as "at once". SIGCONT after it, because a
// stopped process does not see it.
void Reaper::Terminate() {
  const std::vector<ProcessInfo> live = LiveDescendants(getpid());
  if (!told_to_end_) told_ = live.size();
  told_to_end_ = true;
  if (leader_ > 0) kill(-leader_, SIGTERM);
  for (const ProcessInfo& process : live) {
    if (leader_ < 0 || process.group != leader_) SignalProcess(process, SIGTERM);
  }
  for (const ProcessInfo& process : live) SignalProcess(process, SIGCONT);
  if (leader_ > 0) kill(-leader_, SIGCONT);
}

void Reaper::BeginKill() {
  if (killing_) return;
  killing_ = true;
  kill_start_ = Clock::now();
  first_round_ = kill_start_;
  if (leader_ < 0) return;
  // Reaches most trees whole, and at once; the rounds are for those who left the group.
  killed_ |= kill(-leader_, SIGKILL) == 0;
  first_round_ += kFirstRoundAfter;
}

void Reaper::KillRound() {
  if (KillDescendants() > 0) killed_ = true;
  if (!survivors_named_ && Clock::now() - kill_start_ >= kSurvivorsAfter) ReportSurvivors();
}

void Reaper::ReportSurvivors() {
  const std::vector<ProcessInfo> live = LiveDescendants(getpid());
  if (live.empty()) return;
  survivors_named_ = true;
  for (size_t i = 0; i < std::min<size_t>(live.size(), kMaxNamedSurvivors); ++i) {
    Packet packet;
    packet.detail = static_cast<uint8_t>(live[i].state);
    packet.count = static_cast<uint32_t>(live.size());
    packet.pid = live[i].pid;
    SetText(CommandLine(live[i]), &packet);
    Report(PacketType::kSurvivor, packet);
  }
}

void Reaper::ReadLaunchReport() {
  if (!launch_report_.valid()) return;
  LaunchFailure failure;
  const ssize_t size = read(launch_report_.get(), &failure, sizeof(failure));
  if (size < 0) return;  // the child is still on its way
  launch_report_.reset();
  if (size == sizeof(failure)) {
    ReportFailure(failure.step, failure.error);
    return;
  }
  started_ = true;
  Packet packet;
  packet.pid = leader_;
  Report(PacketType::kSpawned, packet);
}

bool Reaper::Reap() {
  for (int i = 0; i < kReapBatch; ++i) {
    siginfo_t info = {};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) return errno != ECHILD;
    more_zombies_ = info.si_pid != 0;
    if (!more_zombies_) return true;
    if (killed_ && info.si_code == CLD_KILLED && info.si_status == SIGKILL) ++killed_count_;
    if (info.si_pid == leader_) {
      ReapLeader();
    } else {
      waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG | __WALL);
    }
  }
  return true;
}

// Invariant: the group is signalled only before this, while the zombie keeps its number from reuse.
void Reaper::ReapLeader() {
  ReadLaunchReport();  // the child is dead: the report is there, or end of file
  int status = 0;
  rusage usage = {};
  const pid_t leader = leader_;
  leader_ = -1;
  first_round_ = kill_start_;
  wait4(leader, &status, WNOHANG, &usage);
  if (!started_) return;
  if (waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0) {
    leftovers_ = static_cast<uint32_t>(LiveDescendants(getpid()).size());
  }
  Packet packet;
  packet.code = status;
  packet.flags = killed_ ? kKilledByUs : 0;
  SetUsage(ToUsage(usage), &packet);
  Report(PacketType::kExited, packet);
  if (!told_to_end_) BeginKill();
}

void Reaper::ReportGone() {
  if (!failed_) {
    rusage usage = {};
    getrusage(RUSAGE_CHILDREN, &usage);
    Packet packet;
    packet.detail = static_cast<uint8_t>(Level::kSubreaper);
    packet.count = leftovers_;
    SetUsage(ToUsage(usage), &packet);
    SetToll({told_ - std::min(told_, killed_count_), killed_count_}, &packet);
    Report(PacketType::kGone, packet);
  }
  // The warden may be slow; it may also be dead, and then its socket takes everything.
  while (control_.queued() > 0) {
    pollfd writable = {control_.fd(), POLLOUT, 0};
    poll(&writable, 1, -1);
    control_.Flush();
  }
}

}  // namespace

int RunReaper(ReaperOptions options) { return Reaper(std::move(options)).Run(); }

}  // namespace nursery::warden
