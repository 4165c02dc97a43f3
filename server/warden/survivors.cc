#include "server/warden/survivors.h"

#include <algorithm>
#include <utility>

namespace nursery::warden {

Survivors NameSurvivors(const std::vector<ProcessInfo>& alive) {
  Survivors survivors;
  survivors.total = static_cast<uint32_t>(alive.size());
  const size_t count = std::min<size_t>(alive.size(), kMaxNamedSurvivors);
  const std::vector<ProcessInfo> named(alive.begin(), alive.begin() + std::ptrdiff_t(count));
  const std::vector<std::string> commands = CommandLines(named);
  for (size_t i = 0; i < count; ++i) {
    survivors.named.push_back(
        {named[i].pid, named[i].state, commands[i].substr(0, kMaxSurvivorCommand)});
  }
  return survivors;
}

std::vector<Packet> SurvivorPackets(const std::vector<ProcessInfo>& alive, uint64_t attempt,
                                    uint16_t flags) {
  const Survivors survivors = NameSurvivors(alive);
  // That there is none is told by a packet, too.
  std::vector<Packet> packets(std::max<size_t>(survivors.named.size(), 1));
  for (size_t i = 0; i < packets.size(); ++i) {
    packets[i].type = PacketType::kSurvivor;
    packets[i].attempt = attempt;
    packets[i].flags = flags;
    packets[i].count = survivors.total;
    packets[i].code = static_cast<int32_t>(packets.size() - 1 - i);
    if (i == survivors.named.size()) break;
    packets[i].detail = static_cast<uint8_t>(survivors.named[i].state);
    packets[i].pid = survivors.named[i].pid;
    SetText(survivors.named[i].command, &packets[i]);
  }
  return packets;
}

std::optional<Survivors> SurvivorReader::Add(const Packet& packet) {
  // The first one: a report that ended with its reaper is not gone on with.
  const uint32_t packets = std::clamp(packet.count, 1u, kMaxNamedSurvivors);
  if (packet.code == static_cast<int32_t>(packets) - 1) survivors_ = {};
  survivors_.total = packet.count;
  if (packet.count > 0 && survivors_.named.size() < kMaxNamedSurvivors) {
    survivors_.named.push_back(
        {packet.pid, static_cast<char>(packet.detail), std::string(TextOf(packet))});
  }
  if (packet.code > 0) return std::nullopt;
  return std::exchange(survivors_, {});
}

bool ToldSurvivors::Change(const std::vector<ProcessInfo>& alive) {
  std::vector<pid_t> pids;
  for (const ProcessInfo& process : alive) pids.push_back(process.pid);
  std::sort(pids.begin(), pids.end());
  if (pids == pids_) return false;
  pids_ = std::move(pids);
  return true;
}

}  // namespace nursery::warden
