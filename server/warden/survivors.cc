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
  Packet any;
  any.type = PacketType::kSurvivor;
  any.attempt = attempt;
  any.flags = flags;
  any.count = survivors.total;
  std::vector<Packet> packets;
  for (const Survivor& survivor : survivors.named) {
    std::string_view text = survivor.command;
    Packet packet = any;
    packet.detail = static_cast<uint8_t>(survivor.state);
    packet.pid = survivor.pid;
    do {
      SetText(text, &packet);
      packets.push_back(packet);
      packet.flags |= kGoesOn;
      text.remove_prefix(std::min(text.size(), kMaxText));
    } while (!text.empty());
  }
  // That there is none is told by a packet, too.
  if (packets.empty()) packets.push_back(any);
  packets.front().flags |= kBegins;
  for (size_t i = 0; i < packets.size(); ++i) {
    packets[i].code = static_cast<int32_t>(packets.size() - 1 - i);
  }
  return packets;
}

std::optional<Survivors> SurvivorReader::Add(const Packet& packet) {
  // A report that ended with its reaper is not gone on with.
  if ((packet.flags & kBegins) != 0) survivors_ = {};
  survivors_.total = packet.count;
  const std::string_view text = TextOf(packet);
  if ((packet.flags & kGoesOn) != 0) {
    std::string* const command =
        survivors_.named.empty() ? nullptr : &survivors_.named.back().command;
    if (command != nullptr && command->size() < kMaxSurvivorCommand) command->append(text);
  } else if (packet.count > 0 && survivors_.named.size() < kMaxNamedSurvivors) {
    survivors_.named.push_back({packet.pid, static_cast<char>(packet.detail), std::string(text)});
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
