// The processes of jobs, and the server's own.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "server/ops/collect.h"
#include "server/warden/protocol.h"

namespace nursery::ops {
namespace {

constexpr warden::Level kLevels[] = {warden::Level::kNone, warden::Level::kGroup,
                                     warden::Level::kSubreaper, warden::Level::kCgroup};

std::string ReadFile(const char* name) {
  std::ifstream stream(name);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Of /proc/self/stat, in the kernel's units.
struct OwnStat {
  unsigned long long user_ticks = 0;
  unsigned long long system_ticks = 0;
  long long threads = 0;
  unsigned long long start_ticks = 0;  // since boot
  unsigned long long virtual_bytes = 0;
  long long resident_pages = 0;
};

OwnStat ReadOwnStat() {
  const std::string text = ReadFile("/proc/self/stat");
  const size_t name_end = text.rfind(')');
  OwnStat stat;
  if (name_end == std::string::npos) return stat;
  // Fields 14, 15, 20, 22, 23 and 24.
  std::sscanf(text.c_str() + name_end + 1,
              " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %lld %*d "
              "%llu %llu %lld",
              &stat.user_ticks, &stat.system_ticks, &stat.threads, &stat.start_ticks,
              &stat.virtual_bytes, &stat.resident_pages);
  return stat;
}

// Of the last boot, in seconds since 1970; 0: not known.
double BootTime() {
  const std::string text = ReadFile("/proc/stat");
  const size_t line = text.find("\nbtime ");
  long long seconds = 0;
  if (line != std::string::npos) std::sscanf(text.c_str() + line, "\nbtime %lld", &seconds);
  return static_cast<double>(seconds);
}

int64_t OpenFds() {
  std::error_code ignored;
  const std::filesystem::directory_iterator all("/proc/self/fd", ignored);
  // Not the one that the directory itself is read through.
  return std::distance(begin(all), end(all)) - 1;
}

}  // namespace

void CollectChildren(const warden::ProcessHost& host, Families& families) {
  const warden::ProcessHost::Stats stats = host.stats();
  Family level = families.Gauge("nursery_containment_info",
                                "1 for how processes are contained; none: not known yet.");
  for (const warden::Level each : kLevels) {
    level.Add({{"level", std::string(warden::LevelName(each))}}, each == stats.level ? 1.0 : 0.0);
  }
  families.Gauge("nursery_processes", "Attempts whose processes are not verified gone.")
      .Add({}, static_cast<int64_t>(stats.live));
  families.Counter("nursery_processes_started_total", "Attempts whose program was started.")
      .Add({}, static_cast<int64_t>(stats.spawned));
  Family killed = families.Counter("nursery_processes_killed_total",
                                   "Processes that ended by the signal of a cancel.");
  killed.Add({{"signal", "TERM"}}, static_cast<int64_t>(stats.terminated));
  killed.Add({{"signal", "KILL"}}, static_cast<int64_t>(stats.killed));
  families
      .Counter("nursery_processes_leftover_total",
               "Processes that were left when their program had exited, and were killed.")
      .Add({}, static_cast<int64_t>(stats.leftovers));
  families.Counter("nursery_attempts_lost_total", "Attempts that died with their warden or reaper.")
      .Add({}, static_cast<int64_t>(stats.attempts_lost));
  families.Gauge("nursery_orphans", "Descendants of the server that nobody answers for.")
      .Add({}, static_cast<int64_t>(host.CountStrays()));
}

void CollectProcess(Families& families) {
  const OwnStat stat = ReadOwnStat();
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto cpu = static_cast<double>(stat.user_ticks + stat.system_ticks);
  families.Counter("process_cpu_seconds_total", "CPU time of the server, user and system.")
      .Add({}, cpu / ticks);
  families.Gauge("process_start_time_seconds", "When the server started, since 1970.")
      .Add({}, BootTime() + static_cast<double>(stat.start_ticks) / ticks);
  families.Gauge("process_virtual_memory_bytes", "Address space of the server.")
      .Add({}, static_cast<double>(stat.virtual_bytes));
  families.Gauge("process_resident_memory_bytes", "Memory of the server.")
      .Add({},
           static_cast<double>(stat.resident_pages) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  families.Gauge("process_threads", "Threads of the server.")
      .Add({}, static_cast<int64_t>(stat.threads));
  families.Gauge("process_open_fds", "Open descriptors of the server.").Add({}, OpenFds());
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  families.Gauge("process_max_fds", "Descriptors that the server may have open.")
      .Add({}, static_cast<double>(limit.rlim_cur));
}

}  // namespace nursery::ops
