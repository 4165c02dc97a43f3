#include "server/warden/warden.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <span>
#include <utility>

#include "server/warden/process_tree.h"
#include "server/warden/reaper.h"

namespace nursery::warden {
namespace {

using Clock = std::chrono::steady_clock;

// 256 KiB of memory. One batch of events may overshoot it by what the reapers' sockets hold.
constexpr size_t kMaxQueued = 4096;
constexpr int kEventBatch = 64;
// A reaper that does not read its socket gets no further TERM; KILL always reaches it.
constexpr size_t kMaxQueuedTerms = 4;
// Reapers kept for attempts to come.
constexpr size_t kMaxIdleReapers = 16;

enum Source : uint64_t { kServer, kSignals, kReapers };

void Watch(int epoll, int fd, uint32_t events, uint64_t data, int operation) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = data;
  epoll_ctl(epoll, operation, fd, &event);
}

uint32_t Interest(bool reading, bool writing) {
  return (reading ? uint32_t{EPOLLIN} : 0u) | (writing ? uint32_t{EPOLLOUT} : 0u);
}

UniqueFd ChildSignals() {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  return UniqueFd(signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC));
}

}  // namespace

Warden::Warden(WardenOptions options)
    : hold_fds_(std::move(options.hold_fds)),
      containment_(options.containment),
      cgroup_(std::move(options.cgroup)),
      run_cgroup_(std::move(options.run_cgroup)),
      instance_(std::move(options.instance)),
      inherited_(options.inherited),
      events_(epoll_create1(EPOLL_CLOEXEC)),
      reaper_events_(epoll_create1(EPOLL_CLOEXEC)),
      signals_(ChildSignals()),
      server_(std::move(options.server)) {
  Watch(events_.get(), server_.fd(), EPOLLIN, kServer, EPOLL_CTL_ADD);
  Watch(events_.get(), signals_.get(), EPOLLIN, kSignals, EPOLL_CTL_ADD);
  Watch(events_.get(), reaper_events_.get(), EPOLLIN, kReapers, EPOLL_CTL_ADD);
  Packet hello;
  hello.type = PacketType::kHello;
  hello.detail = static_cast<uint8_t>(containment_.level);
  hello.code = kProtocolVersion;
  hello.flags = containment_.held;
  hello.count = kSpawnCredits;
  server_.Send(hello);
}

void Warden::Run() {
  std::array<epoll_event, 4> events;
  while (!Finished()) {
    UpdateInterest();
    const int count = epoll_wait(events_.get(), events.data(), events.size(), Timeout());
    for (int i = 0; i < count; ++i) {
      switch (events[static_cast<size_t>(i)].data.u64) {
        case kServer:
          ReadServer();
          break;
        case kSignals:
          ReapChildren();
          break;
        case kReapers:
          ReadReapers();
          break;
        default:
          break;
      }
    }
    if (sweeping_ && Clock::now() >= next_sweep_) SweepStrays();
    server_.Flush();
  }
  // The server does it as well, if it lives.
  if (!run_cgroup_.empty()) RemoveCgroup(run_cgroup_);
}

bool Warden::Finished() const {
  return ending_ && reapers_.empty() && !sweeping_ && server_.queued() == 0;
}

int Warden::Timeout() const {
  if (!sweeping_) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_sweep_ - Clock::now());
  return std::max(0, static_cast<int>(left.count()));
}

void Warden::UpdateInterest() {
  const bool reading = server_.queued() < kMaxQueued;
  if (reading != reading_) {
    reading_ = reading;
    Watch(events_.get(), reaper_events_.get(), Interest(reading, false), kReapers, EPOLL_CTL_MOD);
  }
  if (!server_.open()) return;
  const uint32_t wanted = Interest(reading, server_.queued() > 0);
  if (std::exchange(server_interest_, wanted) == wanted) return;
  Watch(events_.get(), server_.fd(), wanted, kServer, EPOLL_CTL_MOD);
}

void Warden::ReadServer() {
  // A message is read to its end: nothing would tell that a part of it is left.
  const auto goes_on = [this](int done) {
    return server_.has_received() || (done < kEventBatch && server_.queued() < kMaxQueued);
  };
  for (int i = 0; server_.open() && goes_on(i); ++i) {
    ReceivedPacket received;
    switch (server_.Receive(&received)) {
      case Channel::Result::kPacket:
        Handle(std::move(received));
        break;
      case Channel::Result::kMalformed:
        std::fprintf(stderr, "nursery-warden: a packet of the wrong size was ignored\n");
        break;
      case Channel::Result::kEmpty:
        return;
      case Channel::Result::kClosed:
        server_.Close();
        End();
        return;
    }
  }
}

void Warden::Handle(ReceivedPacket received) {
  const uint64_t attempt = received.packet.attempt;
  switch (received.packet.type) {
    case PacketType::kSpawn:
      return Spawn(std::move(received));
    case PacketType::kTerm:
      return Terminate(attempt);
    case PacketType::kKill:
      return Kill(attempt);
    case PacketType::kDrain:
      return End();
    case PacketType::kStats:
      return SendStats();
    default:
      std::fprintf(stderr, "nursery-warden: a packet of type %d was ignored\n",
                   static_cast<int>(received.packet.type));
  }
}

void Warden::Spawn(ReceivedPacket received) {
  const uint64_t id = received.packet.attempt;
  if (attempts_.contains(id)) {
    // An answer could not be told from one to the attempt that has this number.
    std::fprintf(stderr, "nursery-warden: attempt %llu exists, SPAWN was ignored\n",
                 static_cast<unsigned long long>(id));
    return;
  }
  if (ending_) return RefuseSpawn(id, Step::kReaper, ESHUTDOWN);
  if (!HasAllFds(received)) {
    return RefuseSpawn(id, Step::kDescriptors, received.fds_lost ? EMFILE : EPROTO);
  }
  Reaper* const reaper = IdleReaper();
  if (reaper == nullptr) return RefuseSpawn(id, Step::kReaper, errno);
  std::array<int, kMaxPassedFds> fds = {};
  for (size_t i = 0; i < received.fd_count; ++i) fds[i] = received.fds[i].get();
  if (!reaper->control.TrySend(received.packet, std::span(fds).first(received.fd_count))) {
    // The kernel has no room for so many descriptors under way.
    idle_.push_back(reaper->number);
    return RefuseSpawn(id, Step::kReaper, EAGAIN);
  }
  reaper->attempt = id;
  attempts_.emplace(id, reaper->number);
}

Warden::Reaper* Warden::IdleReaper() {
  if (idle_.empty()) return StartReaper();
  Reaper* const reaper = &reapers_.at(idle_.back());
  idle_.pop_back();
  return reaper;
}

Warden::Reaper* Warden::StartReaper() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    return nullptr;
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return nullptr;
  if (pid == 0) BecomeReaper(std::move(theirs));
  const uint64_t number = next_reaper_++;
  Watch(reaper_events_.get(), ours.get(), EPOLLIN, number, EPOLL_CTL_ADD);
  reaper_pids_.emplace(pid, number);
  return &reapers_.emplace(number, Reaper{number, Channel(std::move(ours)), pid}).first->second;
}

void Warden::BecomeReaper(UniqueFd control) {
  ReaperOptions options;
  options.control = std::move(control);
  options.inherited = inherited_;
  options.containment = containment_;
  options.run_cgroup = run_cgroup_;
  options.hold_fds = hold_fds_;
  RunReaper(std::move(options));
  _exit(0);
}

void Warden::RefuseSpawn(uint64_t attempt, Step step, int error) {
  ++counters_.failed;
  Packet packet;
  packet.type = PacketType::kSpawnFailed;
  packet.attempt = attempt;
  packet.detail = static_cast<uint8_t>(step);
  packet.code = error;
  server_.Send(packet);
}

// Null: it has ended while the packet was on its way.
Warden::Reaper* Warden::ReaperOf(uint64_t attempt) {
  const auto found = attempts_.find(attempt);
  return found == attempts_.end() ? nullptr : &reapers_.at(found->second);
}

void Warden::Terminate(uint64_t attempt) {
  Reaper* const reaper = ReaperOf(attempt);
  if (reaper == nullptr || reaper->control.queued() >= kMaxQueuedTerms) return;
  Packet packet;
  packet.type = PacketType::kTerm;
  reaper->control.Send(packet);
}

void Warden::Kill(uint64_t attempt) {
  if (Reaper* const reaper = ReaperOf(attempt)) EndReaper(reaper);
}

void Warden::EndReaper(Reaper* reaper) {
  reaper->told_to_end = true;
  reaper->control.ShutdownSending();
}

void Warden::End() {
  ending_ = true;
  idle_.clear();
  for (auto& [number, reaper] : reapers_) EndReaper(&reaper);
}

void Warden::ReadReapers() {
  std::array<epoll_event, kEventBatch> events;
  const int count = epoll_wait(reaper_events_.get(), events.data(), events.size(), 0);
  for (int i = 0; i < count && server_.queued() < kMaxQueued; ++i) {
    const uint64_t number = events[static_cast<size_t>(i)].data.u64;  // the struct is packed
    const auto reaper = reapers_.find(number);
    if (reaper == reapers_.end()) continue;
    ReadReaper(&reaper->second);
    ForgetIfOver(reaper);
  }
}

void Warden::ReadReaper(Reaper* reaper) {
  reaper->control.Flush();
  ReceivedPacket received;
  Channel::Result result;
  while ((result = reaper->control.Receive(&received)) == Channel::Result::kPacket) {
    const PacketType type = received.packet.type;
    counters_.spawned += type == PacketType::kSpawned ? 1 : 0;
    counters_.failed += type == PacketType::kSpawnFailed ? 1 : 0;
    if (type == PacketType::kSpawned) reaper->leader = received.packet.pid;
    server_.Queue(received.packet);
    if (type == PacketType::kGone || type == PacketType::kSpawnFailed) EndAttempt(reaper);
  }
  if (result != Channel::Result::kClosed) return;
  reaper->control.Close();
  std::erase(idle_, reaper->number);
}

void Warden::EndAttempt(Reaper* reaper) {
  attempts_.erase(std::exchange(reaper->attempt, kNoAttempt));
  reaper->leader = -1;
  if (reaper->told_to_end) return;
  if (idle_.size() >= kMaxIdleReapers) return EndReaper(reaper);
  idle_.push_back(reaper->number);
}

void Warden::ReapChildren() {
  signalfd_siginfo ignored;
  while (read(signals_.get(), &ignored, sizeof(ignored)) > 0) {
  }
  pid_t pid;
  int status;
  while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
    const auto number = reaper_pids_.find(pid);
    if (number == reaper_pids_.end()) {
      next_sweep_ = Clock::now();  // a stray
      continue;
    }
    if (status != 0) BeginSweep();
    const auto reaper = reapers_.find(number->second);
    reaper_pids_.erase(number);
    std::erase(idle_, reaper->first);
    reaper->second.reaped = true;
    ForgetIfOver(reaper);
  }
}

void Warden::ForgetIfOver(Reapers::iterator reaper) {
  if (!reaper->second.reaped || reaper->second.control.open()) return;
  const uint64_t attempt = reaper->second.attempt;
  if (attempt != kNoAttempt) {
    // Only now, with the reaper dead and reaped, have all its children become ours.
    BeginSweep();
    lost_.push_back({attempt, reaper->second.leader, Clock::now(), false, {}});
    attempts_.erase(attempt);
    ++counters_.reapers_lost;
  }
  reapers_.erase(reaper);
}

void Warden::BeginSweep() {
  last_loss_ = Clock::now();
  next_sweep_ = last_loss_;
  sweeping_ = true;
}

void Warden::SweepStrays() {
  const auto is_reaper = [this](pid_t pid) { return reaper_pids_.contains(pid); };
  KillDescendants(is_reaper);
  std::unordered_map<pid_t, uint64_t> sessions;
  bool slow = false;
  for (Lost& lost : lost_) {
    sessions.emplace(lost.leader, lost.attempt);
    lost.slow = Clock::now() - lost.since >= kSurvivorsAfter;
    slow |= lost.slow;
  }
  // Only this process reaps its children, so none can slip through this scan.
  const std::vector<Stray> strays = FindStrays(slow ? instance_ : "", sessions, is_reaper);
  GroupView view(instance_);
  std::erase_if(lost_, [&](Lost& lost) { return IsOver(strays, &view, &lost); });
  sweeping_ = !strays.empty() || !lost_.empty();
  const Clock::time_point now = Clock::now();
  next_sweep_ = now + TimeToNextRound(now - last_loss_);
}

// Says so if it is, and what escaped; if it is not after a while, who is alive.
bool Warden::IsOver(const std::vector<Stray>& strays, GroupView* view, Lost* lost) {
  if (server_.queued() >= kMaxQueued) return false;
  std::vector<ProcessInfo> alive;
  const bool outside = KillLost(*lost, view, &alive);
  if (!MayBeLeft(lost->attempt, strays, &alive) && !outside) {
    TellEscaped(lost->attempt, view);
    Packet packet;
    packet.type = PacketType::kGone;
    packet.attempt = lost->attempt;
    packet.detail = static_cast<uint8_t>(containment_.level);
    packet.flags = kReaperLost;
    server_.Send(packet);
    return true;
  }
  if (!lost->slow || !lost->told.Change(alive)) return false;
  for (const Packet& packet : SurvivorPackets(alive, lost->attempt, 0)) server_.Send(packet);
  return false;
}

// Before its GONE: what is out of reach of the level `group`, as its reaper would have told.
void Warden::TellEscaped(uint64_t attempt, GroupView* view) {
  if (containment_.level != Level::kGroup) return;
  const std::vector<ProcessInfo> escaped = view->Marked(attempt);
  if (escaped.empty()) return;
  for (const Packet& packet : SurvivorPackets(escaped, attempt, kEscaped)) server_.Send(packet);
}

// What is no descendant of this process: those in the leaf of an attempt whose reaper was killed,
// or in the session of its leader. Gives whether one is alive.
bool Warden::KillLost(const Lost& lost, GroupView* view, std::vector<ProcessInfo>* alive) const {
  if (containment_.level == Level::kGroup) {
    *alive = view->Session(lost.leader);
    for (const ProcessInfo& process : *alive) SignalProcess(process, SIGKILL);
    return !alive->empty();
  }
  if (containment_.level != Level::kCgroup) return false;
  const Cgroup leaf = Cgroup::Open(run_cgroup_ + "/" + LeafName(lost.attempt));
  if (!leaf.valid()) return false;
  leaf.Kill();
  const bool populated = leaf.populated();
  RemoveCgroup(cgroup_.get(), LeafName(lost.attempt));
  return populated;
}

void Warden::SendStats() {
  Packet packet;
  packet.type = PacketType::kStats;
  counters_.live = attempts_.size();
  SetCounters(counters_, &packet);
  server_.Send(packet);
}

}  // namespace nursery::warden
