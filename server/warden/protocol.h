// The language that server, warden and reapers speak: packets of 64 bytes, one or a few in each
// message of a SOCK_SEQPACKET socket. A reaper's reports have the form in which the server reads
// them, so the warden passes them on as they are.
//
//   server -> warden   SPAWN (with the memfd of the spec and up to three descriptors), TERM, KILL,
//                      DRAIN, STATS
//   warden -> server   HELLO first; per attempt SPAWN_FAILED, or SPAWNED, EXITED, any number of
//                      reports of SURVIVOR packets, GONE; STATS as the answer to STATS
//   warden -> reaper   SPAWN as it came, when the reaper has no attempt; TERM. Closing the warden's
//                      sending half means KILL and that no attempt follows; so does its death
//
// Order: SPAWN_FAILED and GONE are the last word on an attempt, and mean that no process of it is
// alive; at the level `group`, but for those that SURVIVORs with kEscaped told before it. GONE
// without EXITED: its reaper was killed, and the warden cleaned up in its place. Each report of
// SURVIVORs takes the place of the one before.
//
// Thread safety: plain data.
#ifndef NURSERY_SERVER_WARDEN_PROTOCOL_H_
#define NURSERY_SERVER_WARDEN_PROTOCOL_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "server/warden/tree_limits.h"

namespace nursery::warden {

inline constexpr int32_t kProtocolVersion = 6;

// SPAWN packets that may be without an answer (SPAWNED or SPAWN_FAILED) at one time. Each holds up
// to four descriptors in flight, which the kernel counts against the sender's limit of open files.
inline constexpr uint32_t kSpawnCredits = 64;

// Survivors that one report names; further ones are only counted.
inline constexpr uint32_t kMaxNamedSurvivors = 16;

enum class PacketType : uint8_t {
  kHello = 1,
  kSpawn,
  kSpawned,
  kSpawnFailed,
  kTerm,
  kKill,
  kExited,
  kSurvivor,
  kGone,
  kDrain,
  kStats,
};

// In the environment of every process of an attempt, with INSTANCE:ATTEMPT behind it: how those are
// found that nothing else holds. Where a server runs in an attempt of another, that one's mark
// comes first, then a space: both have to find what the inner one starts.
inline constexpr std::string_view kMarkVariable = "NURSERY_CONTAINMENT=";

// Of a reaper, as ps shows it.
inline constexpr const char* kReaperName = "nursery-reaper";

// How well what an attempt starts is contained, weakest first.
enum class Level : uint8_t { kNone, kGroup, kSubreaper, kCgroup };

// What failed when a task process could not be started.
enum class Step : uint8_t {
  kSpec = 1,     // the spec was malformed
  kDescriptors,  // the warden received fewer descriptors than were sent
  kReaper,       // no reaper process or no socket to it
  kFork,         // no process for the task
  kSession,
  kStdio,
  kPrivileges,
  kPriority,
  kDirectory,
  kLimits,
  kProgram,
  kCgroup,      // no cgroup for the attempt
  kTreeLimits,  // its limits cannot be set there
  kAccount,     // the process cannot get the rights of another account
};

// Bits of Packet::flags.
inline constexpr uint16_t kHasStdin = 1;  // SPAWN: which descriptors follow the memfd
inline constexpr uint16_t kHasStdout = 2;
inline constexpr uint16_t kHasStderr = 4;
inline constexpr uint16_t kKilledByUs = 8;    // EXITED: the warden's side sent SIGKILL
inline constexpr uint16_t kReaperLost = 16;   // GONE: the reaper died before its attempt
inline constexpr uint16_t kOutOfMemory = 32;  // GONE: the kernel killed a process for want of it
inline constexpr uint16_t kByOwnLimit = 64;   // GONE: by the limit of the attempt
inline constexpr uint16_t kEscaped = 128;     // SURVIVOR: out of reach of the level, and let go
inline constexpr uint16_t kBegins = 256;      // SURVIVOR: the first of a report
inline constexpr uint16_t kGoesOn = 512;      // SURVIVOR: more of the text of the one before

struct Packet {
  PacketType type = PacketType::kHello;
  uint8_t detail = 0;  // Level, Step, or the state letter of a SURVIVOR
  uint16_t flags = 0;  // HELLO: the TreeLimitSet that holds
  // HELLO: credits; SPAWN_FAILED at kTreeLimits: the TreeLimit; SURVIVOR: how many in all, named
  // or not; GONE: leftovers
  uint32_t count = 0;
  uint64_t attempt = 0;
  int32_t pid = 0;  // SPAWNED, SURVIVOR
  // HELLO: version; SPAWNED: the reaper's pid; SPAWN_FAILED: errno; EXITED: wait status; SURVIVOR:
  // how many of the same report follow; GONE: the TreeLimitSet that was asked for and did not hold
  int32_t code = 0;
  std::array<uint64_t, 5> payload = {};
};
static_assert(sizeof(Packet) == 64 && std::is_trivially_copyable_v<Packet>);

// Resources used, in the payload of EXITED (the leader and what it waited for) and of GONE
// (everything the attempt started).
struct Usage {
  uint64_t user_microseconds = 0;
  uint64_t system_microseconds = 0;
  uint64_t max_rss_bytes = 0;
};

// How the processes of an attempt that was told to end did so, in the payload of GONE.
struct Toll {
  uint64_t terminated = 0;  // lived when SIGTERM came, and needed no more
  uint64_t killed = 0;      // by the SIGKILL of the reaper
};

// At most so many of each fit, more than there can be processes.
inline constexpr uint64_t kMaxToll = UINT32_MAX;

struct Counters {
  uint64_t live = 0;
  uint64_t spawned = 0;
  uint64_t failed = 0;
  uint64_t reapers_lost = 0;
};

void SetUsage(const Usage& usage, Packet* packet);
Usage UsageOf(const Packet& packet);
void SetToll(const Toll& toll, Packet* packet);
Toll TollOf(const Packet& packet);
// With its flags, in GONE.
void SetMemoryFacts(const MemoryFacts& facts, Packet* packet);
MemoryFacts MemoryFactsOf(const Packet& packet);
void SetCounters(const Counters& counters, Packet* packet);
Counters CountersOf(const Packet& packet);
// Of the command line of a survivor, cut to what fits.
inline constexpr size_t kMaxText = sizeof(Packet::payload);
void SetText(std::string_view text, Packet* packet);
std::string_view TextOf(const Packet& packet);

// Of SPAWN_FAILED, as in "cannot enter the working directory".
std::string FailureText(const Packet& failed);
std::string_view LevelName(Level level);
// kNone if it is no name of a level.
Level LevelOf(std::string_view name);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_PROTOCOL_H_
