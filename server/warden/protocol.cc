#include "server/warden/protocol.h"

#include <algorithm>
#include <cstring>

namespace nursery::warden {

void SetUsage(const Usage& usage, Packet* packet) {
  packet->payload[0] = usage.user_microseconds;
  packet->payload[1] = usage.system_microseconds;
  packet->payload[2] = usage.max_rss_bytes;
}

Usage UsageOf(const Packet& packet) {
  return {packet.payload[0], packet.payload[1], packet.payload[2]};
}

void SetToll(const Toll& toll, Packet* packet) {
  packet->payload[3] = std::min(toll.terminated, kMaxToll) | std::min(toll.killed, kMaxToll) << 32;
}

Toll TollOf(const Packet& packet) {
  return {packet.payload[3] & kMaxToll, packet.payload[3] >> 32};
}

void SetMemoryFacts(const MemoryFacts& facts, Packet* packet) {
  if (facts.out_of_memory) packet->flags |= kOutOfMemory;
  if (facts.by_own_limit) packet->flags |= kByOwnLimit;
  packet->payload[4] = facts.peak_bytes;
}

MemoryFacts MemoryFactsOf(const Packet& packet) {
  return {(packet.flags & kOutOfMemory) != 0, (packet.flags & kByOwnLimit) != 0, packet.payload[4]};
}

void SetCounters(const Counters& counters, Packet* packet) {
  packet->payload = {counters.live, counters.spawned, counters.failed, counters.reapers_lost};
}

Counters CountersOf(const Packet& packet) {
  return {packet.payload[0], packet.payload[1], packet.payload[2], packet.payload[3]};
}

void SetText(std::string_view text, Packet* packet) {
  packet->payload = {};
  std::memcpy(packet->payload.data(), text.data(), std::min(text.size(), sizeof(packet->payload)));
}

std::string_view TextOf(const Packet& packet) {
  const char* text = reinterpret_cast<const char*>(packet.payload.data());
  return {text, strnlen(text, sizeof(packet.payload))};
}

namespace {

TreeLimit LimitOf(const Packet& failed) {
  return static_cast<TreeLimit>(std::min<uint32_t>(failed.count, kTreeLimitCount - 1));
}

}  // namespace

std::string FailureText(const Packet& failed) {
  switch (static_cast<Step>(failed.detail)) {
    case Step::kSpec:
      return "malformed process spec";
    case Step::kDescriptors:
      return "descriptors lost on the way to the warden";
    case Step::kReaper:
      return "cannot start a reaper process";
    case Step::kFork:
      return "cannot start a process";
    case Step::kSession:
      return "cannot start a session";
    case Step::kStdio:
      return "cannot set up stdin, stdout or stderr";
    case Step::kPrivileges:
      return "cannot set no_new_privs";
    case Step::kPriority:
      return "cannot set the nice value";
    case Step::kDirectory:
      return "cannot enter the working directory";
    case Step::kLimits:
      return "cannot set the resource limits";
    case Step::kProgram:
      return "cannot execute the program";
    case Step::kCgroup:
      return "cannot make a cgroup for the attempt";
    case Step::kTreeLimits:
      return "cannot set the limit '" + std::string(TreeLimitName(LimitOf(failed))) +
             "' of the attempt's cgroup";
    case Step::kAccount:
      return "cannot take on the account's rights";
  }
  return "unknown step";
}

namespace {

constexpr std::string_view kNames[] = {"none", "group", "subreaper", "cgroup"};

}  // namespace

std::string_view LevelName(Level level) {
  const auto index = static_cast<size_t>(level);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

Level LevelOf(std::string_view name) {
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  return found == std::end(kNames) ? Level::kNone : static_cast<Level>(found - std::begin(kNames));
}

}  // namespace nursery::warden
