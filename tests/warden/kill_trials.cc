// Kills attempts of every shape again and again, and counts what survives: kill_trials LEVEL COUNT.
//
// A trial counts only when all its processes were seen alive before the kill; others are repeated.
// Exit status 1: something survived that the level promises to reach, or an escapee of the level
// `group` was not named. How long 50 processes took is judged in words only: other machines are
// slower or busy. Not a test; tests/torture.sh runs it.
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "server/warden/process_tree.h"
#include "tests/warden/announced.h"
#include "tests/warden/test_client.h"

namespace nursery::warden {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

// From SIGKILL until a tree of 50 processes is empty, in 99 of 100 cases.
constexpr double kGoal = 20;

// At the level `group`: what forks in a loop in ever new sessions cannot be ended there, and what
// cleared its environment cannot be named.
const std::set<std::string> kNotInGroup = {"chain", "clean_environment", "fork_storm"};

struct Counts {
  int trials = 0;
  int processes = 0;
  int not_seen = 0;           // trials that did not count
  int survivors = 0;          // that the level promises to reach
  int escaped = 0;            // at `group`: out of the session, and named
  int unnamed = 0;            // at `group`: out of the session, and not named
  std::vector<double> times;  // SIGKILL to empty, in milliseconds
};

double Percentile(std::vector<double> sorted, double share) {
  if (sorted.empty()) return 0;
  std::sort(sorted.begin(), sorted.end());
  const auto last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(last * share)];
}

class Trials {
 public:
  explicit Trials(Level level) : level_(level), client_({}, level) {}

  bool Works() {
    const std::optional<Packet> hello = client_.Await(PacketType::kHello);
    return hello && static_cast<Level>(hello->detail) == level_;
  }

  void Run(const std::string& shape, Counts* counts) {
    const std::string mark = NewMark();
    const ProcessSpec spec = EscapeeSpec(shape, mark);
    Pipe in = MakePipe();
    Pipe out = MakePipe();
    const uint64_t attempt = client_.Spawn(spec, {in.reader.get(), out.writer.get(), -1});
    out.writer.reset();
    in.reader.reset();
    const std::optional<Packet> spawned = client_.Await(PacketType::kSpawned, attempt);
    Announced announced;
    const bool seen = spawned && announced.Read(out.reader.get(), kShapes.at(shape), mark) &&
                      announced.AllAlive(shape);
    std::set<pid_t> outside;
    if (level_ == Level::kGroup) outside = Outside(announced, spawned->pid);
    const auto start = std::chrono::steady_clock::now();
    client_.Send(PacketType::kKill, attempt);
    if (!client_.Await(PacketType::kGone, attempt)) std::abort();
    const Milliseconds time = std::chrono::steady_clock::now() - start;
    std::set<pid_t> alive;
    for (const pid_t pid : announced.Survivors()) alive.insert(pid);
    for (const pid_t pid : FindMarked(mark)) alive.insert(pid);
    const int named = AwaitNamed(attempt, outside);
    for (const pid_t pid : outside) kill(pid, SIGKILL);
    for (const pid_t pid : outside) waitpid(pid, nullptr, 0);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    client_.Await(PacketType::kExited, attempt);
    if (!seen) {
      ++counts->not_seen;
      return;
    }
    ++counts->trials;
    counts->processes += static_cast<int>(announced.pids().size());
    counts->times.push_back(time.count());
    counts->escaped += named;
    counts->unnamed +=
        static_cast<int>(std::min<size_t>(outside.size(), kMaxNamedSurvivors)) - named;
    for (const pid_t pid : alive) counts->survivors += outside.contains(pid) ? 0 : 1;
  }

 private:
  static std::set<pid_t> Outside(const Announced& announced, pid_t session) {
    std::set<pid_t> outside;
    for (const pid_t pid : announced.pids()) {
      const std::optional<ProcessInfo> process = ReadProcess(pid);
      if (process && process->session != session) outside.insert(pid);
    }
    return outside;
  }

  int AwaitNamed(uint64_t attempt, const std::set<pid_t>& outside) {
    int named = 0;
    for (size_t i = 0; i < std::min<size_t>(outside.size(), kMaxNamedSurvivors); ++i) {
      const std::optional<Packet> survivor = client_.AwaitEscaped(attempt);
      named += survivor && outside.contains(survivor->pid) ? 1 : 0;
    }
    return named;
  }

  const Level level_;
  TestClient client_;
};

void Print(const std::string& shape, Level level, const Counts& counts) {
  std::printf("%-18s %-10s %7d %9d %9d %8d %8.2f %8.2f\n", shape.c_str(),
              std::string(LevelName(level)).c_str(), counts.trials, counts.processes,
              counts.survivors, counts.escaped, Percentile(counts.times, 0.5),
              Percentile(counts.times, 0.99));
}

void Judge(const std::vector<double>& times) {
  const double p99 = Percentile(times, 0.99);
  std::printf("50 processes: SIGKILL to empty p99 %.2f ms, goal %.0f ms: %s\n", p99, kGoal,
              p99 <= kGoal ? "ok" : "short");
}

int RunAll(Level level, int count) {
  // What escapes at the level `group` comes here and is reaped.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  Trials trials(level);
  if (!trials.Works()) {
    std::printf("level %s does not work here\n", std::string(LevelName(level)).c_str());
    return 2;
  }
  std::vector<std::string> shapes;
  for (const auto& [shape, processes] : kShapes) {
    if (level != Level::kGroup || !kNotInGroup.contains(shape)) shapes.push_back(shape);
  }
  std::printf("%-18s %-10s %7s %9s %9s %8s %8s %8s\n", "shape", "level", "trials", "processes",
              "survivors", "escaped", "p50 ms", "p99 ms");
  Counts all;
  std::vector<double> of_fifty;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const int first = count * static_cast<int>(i) / static_cast<int>(shapes.size());
    const int last = count * static_cast<int>(i + 1) / static_cast<int>(shapes.size());
    Counts counts;
    while (counts.trials < last - first && counts.not_seen <= last - first) {
      trials.Run(shapes[i], &counts);
    }
    Print(shapes[i], level, counts);
    if (shapes[i] == "fifty") of_fifty = counts.times;
    all.trials += counts.trials;
    all.processes += counts.processes;
    all.not_seen += counts.not_seen;
    all.survivors += counts.survivors;
    all.escaped += counts.escaped;
    all.unnamed += counts.unnamed;
    all.times.insert(all.times.end(), counts.times.begin(), counts.times.end());
  }
  Print("all", level, all);
  Judge(of_fifty);
  std::printf("%d trials did not count: a process was not seen alive before the kill\n",
              all.not_seen);
  if (level == Level::kGroup) std::printf("%d escapees were not named\n", all.unnamed);
  return all.trials == count && all.survivors == 0 && all.unnamed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace nursery::warden

int main(int argc, char** argv) {
  const auto level = argc == 3 ? nursery::warden::LevelOf(argv[1]) : nursery::warden::Level::kNone;
  const int count = argc == 3 ? std::atoi(argv[2]) : 0;
  if (level == nursery::warden::Level::kNone || count <= 0) {
    std::fprintf(stderr, "usage: kill_trials group|subreaper|cgroup COUNT\n");
    return 2;
  }
  return nursery::warden::RunAll(level, count);
}
