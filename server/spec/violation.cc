#include "server/spec/violation.h"

#include <algorithm>

#include "server/spec/limits.h"

namespace nursery::spec {
namespace {

// Insertions, deletions, replacements and swaps of neighbours between `a` and `b`.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string Format(const Violation& violation, std::string_view file) {
  std::string out;
  if (!file.empty()) out += std::string(file) + ":";
  if (violation.line > 0) {
    out += std::to_string(violation.line) + ":" + std::to_string(violation.column) + ":";
  }
  if (!out.empty()) out += ' ';
  if (!violation.path.empty()) out += violation.path + ": ";
  return out + violation.message;
}

FieldPath::Segment FieldPath::Enter(std::string_view name) {
  const size_t size = text_.size();
  if (!name.empty() && size > 0) text_ += '.';
  text_ += name;
  return Segment(*this, size);
}

FieldPath::Segment FieldPath::Enter(size_t index) {
  const size_t size = text_.size();
  text_ += '[' + std::to_string(index) + ']';
  return Segment(*this, size);
}

void ViolationList::Add(Violation violation) {
  ++total_;
  if (violations_.size() < kMaxKeptErrors) violations_.push_back(std::move(violation));
}

std::string Closest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > kMaxNameBytes) return "";
  // One mistake in a short word, two in a longer one.
  size_t best_distance = word.size() < 4 ? 2 : 3;
  std::string best;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string Listed(const std::vector<std::string>& names) {
  constexpr size_t kListed = 10;
  std::string out;
  for (size_t i = 0; i < names.size() && i < kListed; ++i) {
    if (i > 0) out += ", ";
    out += names[i];
  }
  if (names.size() > kListed) {
    out += " and " + std::to_string(names.size() - kListed) + " more";
  }
  return out;
}

}  // namespace nursery::spec
