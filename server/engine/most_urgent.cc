#include "server/engine/most_urgent.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace nursery::engine {
namespace {

int Urgency(NodeState state) {
  switch (state) {
    case NodeState::kFailed:
    case NodeState::kDeadlineExceeded:
      return 0;
    case NodeState::kRunning:
    case NodeState::kEnding:
      return 1;
    case NodeState::kPending:
      return 2;
    default:
      return 3;
  }
}

// Of each line the place of the one above it; for those at the top their number.
std::vector<size_t> Parents(const std::vector<LineState>& lines) {
  std::vector<size_t> parents;
  std::vector<size_t> above;
  for (size_t i = 0; i < lines.size(); ++i) {
    while (!above.empty() && lines[above.back()].depth >= lines[i].depth) above.pop_back();
    parents.push_back(above.empty() ? lines.size() : above.back());
    above.push_back(i);
  }
  return parents;
}

}  // namespace

std::vector<size_t> MostUrgent(const std::vector<LineState>& lines, size_t limit) {
  std::vector<size_t> chosen(lines.size());
  std::iota(chosen.begin(), chosen.end(), 0);
  if (lines.size() <= limit) return chosen;
  const std::vector<size_t> parents = Parents(lines);
  // A line is as urgent as what is below it, and before it.
  std::vector<int> urgency(lines.size() + 1);
  std::vector<size_t> children(lines.size() + 1);
  for (size_t i = 0; i < lines.size(); ++i) urgency[i] = Urgency(lines[i].state);
  for (size_t i = lines.size(); i-- > 0;) {
    urgency[parents[i]] = std::min(urgency[parents[i]], urgency[i]);
    ++children[parents[i]];
  }
  const auto key = [&](size_t i) { return std::tuple(urgency[i], lines[i].depth, i); };
  const auto more_urgent = [&](size_t a, size_t b) { return key(a) < key(b); };
  const auto end = chosen.begin() + static_cast<std::ptrdiff_t>(limit);
  std::partial_sort(chosen.begin(), end, chosen.end(), more_urgent);
  chosen.erase(end, chosen.end());
  std::map<size_t, std::vector<size_t>> below;
  for (size_t i : chosen) below[parents[i]].push_back(i);
  std::vector<size_t> ordered;
  std::vector<size_t> next = {lines.size()};
  while (!next.empty()) {
    const size_t line = next.back();
    next.pop_back();
    if (line != lines.size()) ordered.push_back(line);
    const auto found = below.find(line);
    if (found == below.end()) continue;
    std::vector<size_t>& shown = found->second;
    if (shown.size() == children[line]) std::sort(shown.begin(), shown.end());
    next.insert(next.end(), shown.rbegin(), shown.rend());
  }
  return ordered;
}

}  // namespace nursery::engine
