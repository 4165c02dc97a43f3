// Survivors: what is alive of an attempt although it was sent SIGKILL, or because the level `group`
// does not reach it.
//
// Thread safety: plain data and pure functions; a SurvivorReader and a ToldSurvivors belong to one
// attempt.
#ifndef NURSERY_SERVER_WARDEN_SURVIVORS_H_
#define NURSERY_SERVER_WARDEN_SURVIVORS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/warden/process_tree.h"
#include "server/warden/protocol.h"

namespace nursery::warden {

// Longest command line that is named, in bytes.
inline constexpr size_t kMaxSurvivorCommand = 256;

struct Survivor {
  pid_t pid = -1;
  char state = '?';
  std::string command;
};

struct Survivors {
  std::vector<Survivor> named;  // at most kMaxNamedSurvivors
  uint32_t total = 0;
};

Survivors NameSurvivors(const std::vector<ProcessInfo>& alive);

// A report as SURVIVOR packets; `flags` are those of each.
std::vector<Packet> SurvivorPackets(const std::vector<ProcessInfo>& alive, uint64_t attempt,
                                    uint16_t flags);

// The same in the other direction.
class SurvivorReader {
 public:
  // The report that `packet` is the last of; nothing: more of it follow.
  std::optional<Survivors> Add(const Packet& packet);

 private:
  Survivors survivors_;
};

// What was told last.
class ToldSurvivors {
 public:
  // Whether `alive` are others; they are what was told from then on. None are told at first.
  bool Change(const std::vector<ProcessInfo>& alive);

 private:
  std::vector<pid_t> pids_;
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_SURVIVORS_H_
