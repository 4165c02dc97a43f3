#include "server/warden/process_host.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <iterator>
#include <random>
#include <utility>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/warden/file_limit.h"
#include "server/warden/leftovers.h"
#include "server/warden/marks.h"
#include "server/warden/process_tree.h"
#include "server/warden/run_cgroup.h"

namespace nursery::warden {
namespace {

using Clock = std::chrono::steady_clock;

// OnReadable looks at everything that may have changed; what woke it does not matter.
void Watch(int epoll, int fd, uint32_t events, int operation) {
  epoll_event event = {};
  event.events = events;
  epoll_ctl(epoll, operation, fd, &event);
}

// Whether there was something.
bool Drain(int fd) {
  uint64_t ignored;
  bool any = false;
  while (read(fd, &ignored, sizeof(ignored)) > 0) any = true;
  return any;
}

std::string BeginOfMarks(const std::string& instance) {
  std::string id = instance;
  if (id.empty()) {
    std::random_device chance;
    id = std::to_string(getpid());
    for (int i = 0; i < 2; ++i) id += "-" + std::to_string(chance());
  }
  return id + ":";
}

}  // namespace

ProcessHost::ProcessHost(Options options)
    : options_(std::move(options)),
      events_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      sweep_timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      instance_(BeginOfMarks(options_.instance)) {
  Watch(events_.get(), wake_.get(), EPOLLIN, EPOLL_CTL_ADD);
  Watch(events_.get(), sweep_timer_.get(), EPOLLIN, EPOLL_CTL_ADD);
}

ProcessHost::~ProcessHost() {
  NURSERY_CHECK(stopped()) << "a ProcessHost was destroyed before it had stopped";
}

absl::Status ProcessHost::Start() {
  if (options_.adopt_orphans && prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    return ErrnoError(errno, "becoming a subreaper");
  }
  MutexLock lock(mutex_);
  task_files_ = RaiseFileLimit();
  return StartWardenLocked();
}

absl::Status ProcessHost::AwaitReady(std::chrono::milliseconds patience) {
  const Clock::time_point end = Clock::now() + patience;
  while (true) {
    int socket = -1;
    {
      MutexLock lock(mutex_);
      if (hello_) return absl::OkStatus();
      if (!refused_.ok()) return refused_;
      if (!channel_.open()) break;
      socket = channel_.fd();
    }
    pollfd readable = {socket, POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) break;
    if (poll(&readable, 1, static_cast<int>(left.count())) != 1) break;
    std::vector<Call> calls;
    MutexLock lock(mutex_);
    ReadSocketLocked(&calls);
    std::move(calls.begin(), calls.end(), std::back_inserter(calls_));
  }
  return Error(absl::StatusCode::kUnavailable, "nursery-warden did not get ready");
}

// Empty where there are none.
absl::StatusOr<std::string> ProcessHost::MakeRunCgroupLocked() {
  if (options_.cgroup.empty()) return std::string();
  absl::StatusOr<std::string> path = MakeRunCgroup(options_.cgroup);
  // The warden finds a level without; if that is not good enough, it is refused for it.
  if (!path.ok()) return std::string();
  if (options_.cgroup_record.empty()) return path;
  absl::Status noted = NoteCgroup(options_.cgroup_record, *path);
  if (noted.ok()) return path;
  RemoveCgroup(*path);
  return noted;
}

absl::Status ProcessHost::StartWardenLocked() {
  absl::StatusOr<std::string> executable = options_.executable;
  if (executable->empty()) executable = FindWarden();
  if (!executable.ok()) return executable.status();
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) != 0) return ErrnoError(errno, "pipe to the warden");
  UniqueFd keepers(pipe[0]);
  const UniqueFd held(pipe[1]);
  absl::StatusOr<std::string> run_cgroup = MakeRunCgroupLocked();
  if (!run_cgroup.ok()) return run_cgroup.status();
  WardenSettings settings;
  settings.hold_fds = options_.hold_fds;
  settings.hold_fds.push_back(held.get());
  settings.task_files = task_files_;
  settings.run_cgroup = *run_cgroup;
  settings.level = options_.level;
  settings.instance = instance_;
  absl::StatusOr<WardenProcess> warden = StartWarden(*executable, settings);
  if (!warden.ok()) {
    RemoveCgroup(*run_cgroup);
    return warden.status();
  }
  run_cgroup_ = *std::move(run_cgroup);
  warden_ = *std::move(warden);
  keepers_ = std::move(keepers);
  channel_ = Channel(std::move(warden_.socket));
  hello_ = false;
  refused_ = absl::OkStatus();
  unanswered_ = 0;
  ++stats_.wardens_started;
  Watch(events_.get(), warden_.pidfd.get(), EPOLLIN, EPOLL_CTL_ADD);
  Watch(events_.get(), channel_.fd(), EPOLLIN, EPOLL_CTL_ADD);
  awaits_room_ = false;
  return absl::OkStatus();
}

absl::StatusOr<AttemptId> ProcessHost::Spawn(ProcessSpec spec, TaskStdio stdio,
                                             ProcessHandler* handler) {
  AttemptId attempt;
  {
    MutexLock lock(mutex_);
    attempt = ++last_attempt_;
  }
  AddMark(MakeMark(instance_, attempt), &spec.env);
  absl::StatusOr<UniqueFd> file = MakeSpecFile(spec);
  if (!file.ok()) return file.status();
  MutexLock lock(mutex_);
  if (stopping_) {
    return Error(absl::StatusCode::kUnavailable, "no process is started: the server is stopping");
  }
  if (waiting_.size() >= kMaxWaitingSpawns) {
    return Error(absl::StatusCode::kResourceExhausted,
                 "the limit of " + std::to_string(kMaxWaitingSpawns) +
                     " processes waiting for their start is reached: try again later");
  }
  // The last warden died before it was ready, so nobody has started another.
  if (warden_.pid < 0) NURSERY_RETURN_IF_ERROR(StartWardenLocked());
  waiting_.push_back({attempt, handler, *std::move(file), std::move(stdio)});
  ++stats_.live;
  SendWaitingLocked();
  return attempt;
}

void ProcessHost::Terminate(AttemptId attempt) { End(attempt, PacketType::kTerm); }

void ProcessHost::Kill(AttemptId attempt) { End(attempt, PacketType::kKill); }

void ProcessHost::End(AttemptId attempt, PacketType how) {
  MutexLock lock(mutex_);
  if (sent_.contains(attempt)) return SendLocked(how, attempt);
  const auto waiting =
      std::find_if(waiting_.begin(), waiting_.end(),
                   [attempt](const WaitingSpawn& spawn) { return spawn.attempt == attempt; });
  if (waiting == waiting_.end()) return;
  const auto fail = [handler = waiting->handler] {
    handler->OnSpawnFailed(
        Error(absl::StatusCode::kCancelled, "cancelled before the process was started"));
  };
  calls_.push_back({fail, true});
  waiting_.erase(waiting);
  Wake();
}

void ProcessHost::Stop() {
  MutexLock lock(mutex_);
  if (stopping_) return;
  stopping_ = true;
  FailWaitingLocked(Error(absl::StatusCode::kCancelled, "the server is stopping"), &calls_);
  if (warden_.pid >= 0) SendLocked(PacketType::kDrain, 0);
  Wake();
}

bool ProcessHost::stopped() const {
  MutexLock lock(mutex_);
  return warden_.pid < 0 && remains_.empty() && stats_.live == 0;
}

ProcessHost::Stats ProcessHost::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

void ProcessHost::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
}

// A dead warden takes no packet, and needs none: its reapers kill by themselves.
void ProcessHost::SendLocked(PacketType type, AttemptId attempt) {
  if (!channel_.open()) return;
  Packet packet;
  packet.type = type;
  packet.attempt = attempt;
  channel_.Send(packet);
  WatchSocketLocked();
}

void ProcessHost::SendWaitingLocked() {
  while (hello_ && channel_.open() && !waiting_.empty() && unanswered_ < kSpawnCredits) {
    if (!TrySendLocked(waiting_.front())) break;
    sent_.emplace(waiting_.front().attempt, Sent{waiting_.front().handler, true, -1, -1, {}, {}});
    waiting_.pop_front();
    ++unanswered_;
  }
  WatchSocketLocked();
}

bool ProcessHost::TrySendLocked(const WaitingSpawn& spawn) {
  Packet packet;
  packet.type = PacketType::kSpawn;
  packet.attempt = spawn.attempt;
  std::vector<int> fds = {spawn.spec.get()};
  constexpr uint16_t kFlags[] = {kHasStdin, kHasStdout, kHasStderr};
  for (size_t i = 0; i < 3; ++i) {
    if (!spawn.stdio.fds[i].valid()) continue;
    packet.flags |= kFlags[i];
    fds.push_back(spawn.stdio.fds[i].get());
  }
  return channel_.TrySend(packet, fds);
}

void ProcessHost::WatchSocketLocked() {
  if (!channel_.open()) return;
  // Out of credits there is nothing to send until an answer comes.
  const bool blocked = hello_ && !waiting_.empty() && unanswered_ < kSpawnCredits;
  const bool sending = blocked || channel_.queued() > 0;
  if (std::exchange(awaits_room_, sending) == sending) return;
  Watch(events_.get(), channel_.fd(), EPOLLIN | (sending ? uint32_t{EPOLLOUT} : 0u), EPOLL_CTL_MOD);
}

void ProcessHost::OnReadable() {
  std::vector<Call> calls;
  {
    MutexLock lock(mutex_);
    Drain(wake_.get());
    const bool is_time = Drain(sweep_timer_.get());
    calls.swap(calls_);
    channel_.Flush();
    ReadSocketLocked(&calls);
    CheckWardenLocked(&calls);
    SweepLocked(is_time, &calls);
    SendWaitingLocked();
  }
  size_t ended = 0;
  for (Call& call : calls) {
    call.run();
    ended += call.last ? 1 : 0;
  }
  MutexLock lock(mutex_);
  stats_.live -= ended;
}

void ProcessHost::ReadSocketLocked(std::vector<Call>* calls) {
  while (channel_.open()) {
    ReceivedPacket received;
    switch (channel_.Receive(&received)) {
      case Channel::Result::kPacket:
        HandleLocked(received.packet, calls);
        break;
      case Channel::Result::kMalformed:
        break;
      case Channel::Result::kEmpty:
        return;
      case Channel::Result::kClosed:
        channel_.Close();
        break;
    }
  }
}

void ProcessHost::HandleLocked(const Packet& packet, std::vector<Call>* calls) {
  if (packet.type == PacketType::kHello) return HandleHelloLocked(packet, calls);
  const auto sent = sent_.find(packet.attempt);
  if (sent == sent_.end()) return;
  if (packet.type != PacketType::kSurvivor && sent->second.unanswered) {
    sent->second.unanswered = false;
    --unanswered_;
  }
  HandleReportLocked(packet, calls);
}

void ProcessHost::HandleHelloLocked(const Packet& hello, std::vector<Call>* calls) {
  stats_.level = static_cast<Level>(hello.detail);
  stats_.held = hello.flags;
  if (hello.code == kProtocolVersion && stats_.level != Level::kNone) {
    hello_ = true;
    // What escapes is not ours, or it would be our zombie for ever.
    if (options_.adopt_orphans && stats_.level == Level::kGroup) prctl(PR_SET_CHILD_SUBREAPER, 0);
    return;
  }
  std::string why = "nursery-warden speaks version " + std::to_string(hello.code) +
                    ", this server " + std::to_string(kProtocolVersion) +
                    ": install both from one build";
  if (hello.code == kProtocolVersion && options_.level != Level::kNone) {
    why = "containment " + std::string(LevelName(options_.level)) + " does not work here";
  } else if (hello.code == kProtocolVersion) {
    why = "the warden's self-test failed: processes cannot be contained here (is /proc mounted?)";
  }
  refused_ = Error(absl::StatusCode::kFailedPrecondition, why);
  FailWaitingLocked(refused_, calls);
  channel_.Close();  // ends it
}

void ProcessHost::HandleReportLocked(const Packet& packet, std::vector<Call>* calls) {
  Sent& sent = sent_.at(packet.attempt);
  ProcessHandler* const handler = sent.handler;
  switch (packet.type) {
    case PacketType::kSpawned:
      ++stats_.spawned;
      sent.leader = packet.pid;
      sent.reaper = packet.code;
      calls->push_back({[handler, pid = packet.pid] { handler->OnSpawned(pid); }});
      return;
    case PacketType::kExited: {
      const LeaderExit exit = {packet.code, (packet.flags & kKilledByUs) != 0, UsageOf(packet)};
      calls->push_back({[handler, exit] { handler->OnExited(exit); }});
      return;
    }
    case PacketType::kSurvivor: {
      std::optional<Survivors> alive = sent.survivors.Add(packet);
      if (!alive) return;
      if ((packet.flags & kEscaped) != 0) {
        sent.escaped = *std::move(alive);
      } else {
        calls->push_back({[handler, alive = *std::move(alive)] { handler->OnSurvivors(alive); }});
      }
      return;
    }
    case PacketType::kSpawnFailed:
      calls->push_back({[handler, why = ErrnoError(packet.code, FailureText(packet))] {
                          handler->OnSpawnFailed(why);
                        },
                        true});
      break;
    case PacketType::kGone: {
      if ((packet.flags & kReaperLost) != 0) {
        LoseLocked(handler, "interrupted: the attempt's reaper process was killed",
                   std::move(sent.escaped), calls);
        break;
      }
      CountLocked(packet);
      const AttemptEnd end = {static_cast<Level>(packet.detail),
                              packet.count,
                              TollOf(packet),
                              UsageOf(packet),
                              MemoryFactsOf(packet),
                              static_cast<TreeLimitSet>(packet.code),
                              std::move(sent.escaped)};
      calls->push_back({[handler, end] { handler->OnGone(end); }, true});
      break;
    }
    default:
      return;
  }
  sent_.erase(packet.attempt);
}

void ProcessHost::CountLocked(const Packet& gone) {
  const Toll toll = TollOf(gone);
  stats_.terminated += toll.terminated;
  stats_.killed += toll.killed;
  stats_.leftovers += gone.count;
}

size_t ProcessHost::CountStrays() const {
  pid_t warden;
  {
    MutexLock lock(mutex_);
    warden = warden_.pid;
  }
  return LiveDescendants(getpid(), [warden](pid_t pid) { return pid == warden; }).size();
}

void ProcessHost::LoseLocked(ProcessHandler* handler, const char* why, Survivors escaped,
                             std::vector<Call>* calls) {
  ++stats_.attempts_lost;
  calls->push_back({[handler, why, escaped = std::move(escaped)] {
                      handler->OnLost(Error(absl::StatusCode::kAborted, why), escaped);
                    },
                    true});
}

void ProcessHost::FailWaitingLocked(const absl::Status& why, std::vector<Call>* calls) {
  for (const WaitingSpawn& spawn : waiting_) {
    calls->push_back({[handler = spawn.handler, why] { handler->OnSpawnFailed(why); }, true});
  }
  waiting_.clear();
}

// Only the process's end counts, not its socket's: then its children have become ours.
void ProcessHost::CheckWardenLocked(std::vector<Call>* calls) {
  int status = 0;
  if (warden_.pid < 0 || waitpid(warden_.pid, &status, WNOHANG) != warden_.pid) return;
  ReadSocketLocked(calls);  // its last words
  channel_.Close();
  const pid_t dead = std::exchange(warden_, WardenProcess()).pid;
  Remains remains = {dead, std::move(keepers_), std::exchange(run_cgroup_, {}),
                     {},   Clock::now(),        false};
  for (const auto& [attempt, sent] : sent_) {
    remains.orphans.push_back({attempt, sent.handler, sent.leader, sent.reaper, false, false, {}});
  }
  sent_.clear();
  Watch(events_.get(), remains.keepers.get(), EPOLLIN, EPOLL_CTL_ADD);
  remains_.push_back(std::move(remains));
  ArmSweepLocked();
  if (stopping_) return;
  // One that was never ready would most likely die again: the next Spawn tries.
  absl::Status restarted =
      Error(absl::StatusCode::kUnavailable,
            "nursery-warden died before it was ready (wait status " + std::to_string(status) + ")");
  if (hello_) restarted = StartWardenLocked();
  if (!restarted.ok()) FailWaitingLocked(restarted, calls);
}

}  // namespace nursery::warden
