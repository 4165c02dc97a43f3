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
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/warden/launcher.h"
#include "server/warden/marks.h"
#include "server/warden/process_spec.h"
#include "server/warden/process_tree.h"
#include "server/warden/strays.h"
#include "server/warden/survivors.h"

namespace nursery::warden {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// What the first signal to the group gets before /proc is searched for more.
constexpr milliseconds kFirstRoundAfter{1};
// SPAWNED waits so long for what follows it. Most that ends sooner is told by one message, which
// wakes the warden and the server once.
constexpr milliseconds kHoldSpawned{1};
// Zombies reaped before looking at the socket again.
constexpr int kReapBatch = 256;

Usage ToUsage(const rusage& usage) {
  const auto microseconds = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_usec);
  };
  return {microseconds(usage.ru_utime), microseconds(usage.ru_stime),
          static_cast<uint64_t>(usage.ru_maxrss) * 1024};
}

void Add(const Usage& more, Usage* sum) {
  sum->user_microseconds += more.user_microseconds;
  sum->system_microseconds += more.system_microseconds;
  sum->max_rss_bytes = std::max(sum->max_rss_bytes, more.max_rss_bytes);
}

// The spec, mapped privately: the strings of its view lie in the mapping. The seals make sure that
// nobody shrinks the file under it.
class MappedSpec {
 public:
  explicit MappedSpec(int fd) {
    constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
    struct stat status;
    const int seals = fcntl(fd, F_GET_SEALS);  // fails for everything but a memfd
    if (seals < 0 || (seals & kSeals) != kSeals || fstat(fd, &status) != 0) return;
    const auto size = static_cast<size_t>(status.st_size);
    if (size == 0 || size > kMaxSpecBytes) return;
    void* bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) return;
    bytes_ = {static_cast<char*>(bytes), size};
    view_ = DecodeSpec(bytes_);
  }
  MappedSpec(const MappedSpec&) = delete;
  MappedSpec& operator=(const MappedSpec&) = delete;
  ~MappedSpec() {
    if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
  }

  const std::optional<SpecView>& view() const { return view_; }

 private:
  std::span<char> bytes_;
  std::optional<SpecView> view_;
};

// The attempt's mark in its own environment; empty if there is none.
std::string MarkOf(const SpecView& spec) {
  std::string mark;
  for (const char* entry : spec.env) {
    if (entry == nullptr) continue;
    // Those before it are of attempts around this one.
    for (std::string& each : MarksIn(entry)) mark = std::move(each);
  }
  return mark;
}

// One attempt, from its SPAWN to its last word.
class AttemptReaper {
 public:
  AttemptReaper(const ReaperOptions& options, int signals, Launcher* launcher, Channel* control,
                ReceivedPacket spawn)
      : inherited_(options.inherited),
        level_(options.containment.level),
        held_(options.containment.held),
        signals_(signals),
        launcher_(*launcher),
        control_(*control),
        spawn_(std::move(spawn)),
        enclosure_(options.containment) {}

  void Run();

 private:
  bool Start();
  bool Launch(UniqueFd report);
  bool launching() const { return launch_report_.valid(); }
  void KnowLeader();
  void Report(PacketType type, Packet packet);
  void Poll();
  int PollTimeout(bool holding) const;
  void ReadControl();
  void Terminate();
  void BeginKill();
  void KillRound();
  void ReportSurvivors(const std::vector<ProcessInfo>& live, uint16_t flags);
  void ReadLaunchReport();
  bool Over();
  // Collects what has died. Returns false if no child is left, dead or alive.
  bool Reap();
  struct Dead {
    int status = 0;
    Usage usage;
  };
  Dead ReapChild(pid_t pid);
  void ReapLeader();
  void SayLastWord();

  const Inherited& inherited_;
  const Level level_;
  const TreeLimitSet held_;
  const int signals_;
  Launcher& launcher_;
  Channel& control_;
  ReceivedPacket spawn_;
  Enclosure enclosure_;
  std::string mark_;                // in the environment of what the attempt starts
  TreeLimitSet not_held_ = 0;       // of the limits that were asked for
  std::optional<MappedSpec> spec_;  // while it is launched
  UniqueFd launch_report_;          // until then

  pid_t leader_ = -1;     // -1 until known, and once reaped: its group may be somebody else's then
  bool started_ = false;  // the program runs or ran
  std::optional<LaunchFailure> failure_;
  std::optional<TreeLimit> refused_limit_;
  bool told_to_end_ = false;    // TERM came: what the leader leaves behind has its grace, too
  uint64_t told_ = 0;           // how many processes lived then
  bool control_ended_ = false;  // KILL, or the warden's death
  bool killing_ = false;
  bool killed_ = false;       // SIGKILL went out to a live process
  bool is_alone_ = false;     // for certain nobody was left when the leader was reaped
  bool others_left_ = false;  // no child any more, but somebody else of the attempt
  bool more_zombies_ = false;
  uint32_t leftovers_ = 0;
  uint64_t killed_count_ = 0;
  Usage usage_;                   // of all that was reaped
  Clock::time_point hold_until_;  // what is queued
  Clock::time_point kill_start_;
  Clock::time_point first_round_;
  Clock::time_point next_look_;  // for survivors
  ToldSurvivors told_alive_;
};

void AttemptReaper::Run() {
  if (Start()) {
    do {
      if (killing_ && Clock::now() >= first_round_) KillRound();
      Poll();
    } while (!Over());
  }
  SayLastWord();
}

// The kernel's word that no child is left; but the session may hold others' children, and the
// cgroup such as were moved there.
bool AttemptReaper::Over() {
  if (launching() || Reap()) return false;
  // Alone once is alone for good: nobody is left who could start another one.
  if (is_alone_ || !enclosure_.OthersAlive()) return true;
  if (!others_left_) kill_start_ = Clock::now();
  others_left_ = true;
  if (!told_to_end_) BeginKill();
  return false;
}

bool AttemptReaper::Start() {
  const auto fail = [this](Step step, int error) {
    failure_ = {step, error};
    return false;
  };
  if (!HasAllFds(spawn_)) return fail(Step::kDescriptors, EMFILE);
  int report[2];
  if (pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0) return fail(Step::kReaper, errno);
  launch_report_ = UniqueFd(report[0]);
  UniqueFd report_writer(report[1]);
  const std::optional<SpecView>& spec = spec_.emplace(spawn_.fds[0].get()).view();
  if (!spec) return fail(Step::kSpec, EINVAL);
  if (level_ == Level::kGroup) mark_ = MarkOf(*spec);
  if (!enclosure_.Prepare(spawn_.packet.attempt)) return fail(Step::kCgroup, errno);
  refused_limit_ = enclosure_.SetLimits(spec->tree_limits);
  if (refused_limit_) return fail(Step::kTreeLimits, errno);
  not_held_ = static_cast<TreeLimitSet>(SetOf(spec->tree_limits) & ~held_);
  return Launch(std::move(report_writer)) || fail(Step::kFork, errno);
}

bool AttemptReaper::Launch(UniqueFd report) {
  Launcher::Plan plan;
  plan.spec = &*spec_->view();
  plan.inherited = &inherited_;
  plan.enclosure = &enclosure_;
  plan.report = std::move(report);
  plan.site.programs = ProgramsOf(*plan.spec);
  plan.site.reaper = getpid();
  plan.site.cgroup_fd = enclosure_.to_enter();
  size_t next = 1;
  for (size_t i = 0; i < 3; ++i) {
    if ((spawn_.packet.flags >> i & 1) != 0) plan.site.stdio[i] = spawn_.fds[next++].get();
  }
  return launcher_.Launch(std::move(plan));
}

void AttemptReaper::KnowLeader() {
  if (!launching() || leader_ > 0) return;
  leader_ = launcher_.pid();
  enclosure_.SetLeader(leader_);
}

void AttemptReaper::Report(PacketType type, Packet packet) {
  packet.type = type;
  packet.attempt = spawn_.packet.attempt;
  control_.Queue(packet);
  // At `group` the warden needs the leader to clean up after a reaper that was killed.
  const bool hold = type == PacketType::kSpawned && level_ != Level::kGroup;
  hold_until_ = hold ? Clock::now() + kHoldSpawned : Clock::time_point();
}

int AttemptReaper::PollTimeout(bool holding) const {
  if (more_zombies_) return 0;
  if (holding) return static_cast<int>(kHoldSpawned.count());
  if (!killing_ && !others_left_) return -1;
  return static_cast<int>(TimeToNextRound(Clock::now() - kill_start_).count());
}

void AttemptReaper::Poll() {
  const bool holding = control_.queued() > 0 && Clock::now() < hold_until_;
  if (!holding) control_.Flush();
  const bool is_full = !holding && control_.queued() > 0;
  const auto control_events =
      static_cast<short>((control_ended_ ? 0 : POLLIN) | (is_full ? POLLOUT : 0));
  // A negative descriptor is passed over; a closed socket would report its hang-up for ever.
  pollfd fds[] = {{control_events != 0 ? control_.fd() : -1, control_events, 0},
                  {signals_, POLLIN, 0},
                  {launch_report_.get(), POLLIN, 0}};
  poll(fds, std::size(fds), PollTimeout(holding));
  signalfd_siginfo ignored;
  while (fds[1].revents != 0 && read(signals_, &ignored, sizeof(ignored)) > 0) {
  }
  if (fds[0].revents != 0) ReadControl();
  if (fds[2].revents != 0) ReadLaunchReport();
}

void AttemptReaper::ReadControl() {
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
void AttemptReaper::Terminate() {
  KnowLeader();
  const std::vector<ProcessInfo> live = enclosure_.Live();
  if (!told_to_end_) told_ = live.size();
  told_to_end_ = true;
  if (leader_ > 0) kill(-leader_, SIGTERM);
  for (const ProcessInfo& process : live) {
    if (leader_ < 0 || process.group != leader_) SignalProcess(process, SIGTERM);
  }
  for (const ProcessInfo& process : live) SignalProcess(process, SIGCONT);
  if (leader_ > 0) kill(-leader_, SIGCONT);
}

void AttemptReaper::BeginKill() {
  if (killing_) return;
  KnowLeader();
  killing_ = true;
  kill_start_ = Clock::now();
  first_round_ = kill_start_;
  next_look_ = kill_start_ + kSurvivorsAfter;
  // Reaches most trees whole, and at once; the rounds are for what it does not reach.
  killed_ |= enclosure_.KillAtOnce(leader_);
  if (killed_) first_round_ += kFirstRoundAfter;
}

void AttemptReaper::KillRound() {
  if (enclosure_.KillRound() > 0) killed_ = true;
  // Nor is more told to a warden that does not read.
  if (Clock::now() < next_look_ || control_.queued() > 0) return;
  next_look_ = Clock::now() + kSurvivorsAfter;
  const std::vector<ProcessInfo> live = enclosure_.Live();
  if (told_alive_.Change(live)) ReportSurvivors(live, 0);
}

void AttemptReaper::ReportSurvivors(const std::vector<ProcessInfo>& live, uint16_t flags) {
  for (const Packet& packet : SurvivorPackets(live, spawn_.packet.attempt, flags)) {
    Report(PacketType::kSurvivor, packet);
  }
}

void AttemptReaper::ReadLaunchReport() {
  LaunchFailure failure;
  ssize_t size;
  while ((size = read(launch_report_.get(), &failure, sizeof(failure))) > 0) failure_ = failure;
  if (size < 0) return;  // the child is still on its way
  KnowLeader();
  launch_report_.reset();
  spec_.reset();
  // A reader sees the end of the task's output only when nobody else holds the writing end.
  for (UniqueFd& fd : spawn_.fds) fd.reset();
  if (failure_) return;
  started_ = true;
  Packet packet;
  packet.pid = leader_;
  packet.code = getpid();
  Report(PacketType::kSpawned, packet);
}

bool AttemptReaper::Reap() {
  for (int i = 0; i < kReapBatch; ++i) {
    siginfo_t info = {};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) return errno != ECHILD;
    more_zombies_ = info.si_pid != 0;
    if (!more_zombies_) return true;
    if (killed_ && info.si_code == CLD_KILLED && info.si_status == SIGKILL) ++killed_count_;
    if (info.si_pid == leader_) {
      ReapLeader();
    } else {
      ReapChild(info.si_pid);
    }
  }
  return true;
}

AttemptReaper::Dead AttemptReaper::ReapChild(pid_t pid) {
  Dead dead;
  rusage usage = {};
  wait4(pid, &dead.status, WNOHANG | __WALL, &usage);
  dead.usage = ToUsage(usage);
  Add(dead.usage, &usage_);
  return dead;
}

// Invariant: the group is signalled only before this, while the zombie keeps its number from reuse.
void AttemptReaper::ReapLeader() {
  const Dead leader = ReapChild(std::exchange(leader_, -1));
  first_round_ = kill_start_;
  if (!started_) return;
  const bool has_children = waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
  const bool is_last = !has_children && !enclosure_.OthersAlive();
  // A scan is no proof.
  is_alone_ = is_last && level_ != Level::kGroup;
  if (!is_last) leftovers_ = static_cast<uint32_t>(enclosure_.Live().size());
  Packet packet;
  packet.code = leader.status;
  packet.flags = killed_ ? kKilledByUs : 0;
  SetUsage(leader.usage, &packet);
  Report(PacketType::kExited, packet);
  if (!told_to_end_ && !is_last) BeginKill();
}

void AttemptReaper::SayLastWord() {
  const MemoryFacts memory = enclosure_.Memory();
  enclosure_.Remove();
  const std::vector<ProcessInfo> escaped = enclosure_.Escaped(mark_);
  if (!escaped.empty()) ReportSurvivors(escaped, kEscaped);
  Packet packet;
  if (failure_) {
    packet.detail = static_cast<uint8_t>(failure_->step);
    packet.code = failure_->error;
    if (refused_limit_) packet.count = static_cast<uint32_t>(*refused_limit_);
    Report(PacketType::kSpawnFailed, packet);
  } else {
    packet.detail = static_cast<uint8_t>(level_);
    packet.count = leftovers_;
    packet.code = not_held_;
    SetUsage(usage_, &packet);
    SetMemoryFacts(memory, &packet);
    SetToll({told_ - std::min(told_, killed_count_), killed_count_}, &packet);
    Report(PacketType::kGone, packet);
  }
  // The warden may be slow; it may also be dead, and then its socket takes everything.
  for (control_.Flush(); control_.queued() > 0; control_.Flush()) {
    pollfd writable = {control_.fd(), POLLOUT, 0};
    poll(&writable, 1, -1);
  }
}

// The next SPAWN; nullopt when none will come. What else is there was for the attempt before.
std::optional<ReceivedPacket> AwaitSpawn(Channel* control) {
  ReceivedPacket received;
  for (;;) {
    switch (control->Receive(&received)) {
      case Channel::Result::kPacket:
        if (received.packet.type == PacketType::kSpawn) return received;
        break;
      case Channel::Result::kMalformed:
        break;
      case Channel::Result::kEmpty: {
        pollfd readable = {control->fd(), POLLIN, 0};
        poll(&readable, 1, -1);
        break;
      }
      case Channel::Result::kClosed:
        return std::nullopt;
    }
  }
}

// A living one ends a reaper by shutting down the direction to it, and holds its end until the
// reaper has ended. Its death closes that end, and only later gives the reaper another parent.
bool IsWardenDead(const Channel& control) {
  pollfd hung_up = {control.fd(), 0, 0};
  return poll(&hung_up, 1, 0) == 1 && (hung_up.revents & POLLHUP) != 0;
}

}  // namespace

void RunReaper(ReaperOptions options) {
  prctl(PR_SET_NAME, kReaperName);
  // The server's socket would hide its death from the warden, another reaper's socket would hide
  // the warden's from that reaper.
  std::vector<int> keep = options.hold_fds;
  keep.push_back(options.control.get());
  keep.push_back(options.containment.cgroup);
  CloseFilesExcept(std::move(keep));
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const UniqueFd signals(signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC));
  // The warden is a subreaper, and so may its children be.
  const bool subreaper = options.containment.level != Level::kGroup;
  if (!signals.valid() || prctl(PR_SET_CHILD_SUBREAPER, subreaper ? 1 : 0) != 0) return;
  Channel control(std::move(options.control));
  Launcher launcher;
  while (std::optional<ReceivedPacket> spawn = AwaitSpawn(&control)) {
    AttemptReaper(options, signals.get(), &launcher, &control, *std::move(spawn)).Run();
  }
  // The last reaper of a dead warden finds it empty; the others, and the warden's own, fail.
  if (!options.run_cgroup.empty() && IsWardenDead(control)) rmdir(options.run_cgroup.c_str());
}

}  // namespace nursery::warden
