#include "nursery/core/task_profile.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "nursery/core/internal/breather.h"
#include "nursery/core/internal/registry.h"
#include "nursery/core/internal/render_dump.h"
#include "nursery/core/internal/snapshot.h"
#include "nursery/core/status.h"

namespace nursery {

using internal::OneLine;
using internal::TaskEntry;
using internal::TaskSnapshot;

namespace {

constexpr std::string_view kAt = "    at ";
constexpr std::string_view kSpawnedAt = "    spawned at ";
constexpr std::string_view kCancelled = ", cancelled";
constexpr std::string_view kOtherNames = ", ...";

bool SameLine(const std::source_location& one, const std::source_location& other) {
  // The same line may have a name in each object file.
  return one.line() == other.line() && (one.file_name() == other.file_name() ||
                                        std::strcmp(one.file_name(), other.file_name()) == 0);
}

struct Alike {
  bool operator()(const TaskEntry* one, const TaskEntry* other) const {
    return one->doing() == other->doing() && one->cancelled() == other->cancelled() &&
           SameLine(one->line, other->line) && SameLine(one->spawn_site, other->spawn_site);
  }
  size_t operator()(const TaskEntry* task) const {
    const size_t lines = task->line.line() * size_t{4099} + task->spawn_site.line();
    return lines * 64 + static_cast<size_t>(task->reason);
  }
};

// As Alike, of what has been written down.
auto IdentityOf(const TaskGroup& group) {
  return std::tie(group.spawned_at, group.at, group.doing, group.cancelled);
}

TaskGroup GroupOf(const TaskEntry& task) {
  TaskGroup group;
  group.doing = task.doing();
  group.cancelled = task.cancelled();
  group.name = OneLine(task.name);
  if (task.line.line() != 0) group.at = internal::LineText(task.line);
  group.spawned_at = internal::LineText(task.spawn_site);
  return group;
}

void Sort(std::vector<TaskGroup>& groups) {
  std::sort(groups.begin(), groups.end(), [](const TaskGroup& one, const TaskGroup& other) {
    if (one.count != other.count) return one.count > other.count;
    return IdentityOf(one) < IdentityOf(other);
  });
}

// Counts the tasks of one registry after the other.
class Counter {
 public:
  void Add(const TaskEntry& task) {
    // Neighbours are mostly alike.
    if (last_ == nullptr || !Alike()(&last_->first, &task)) last_ = &FindOrAdd(task);
    Sum& sum = last_->second;
    ++sum.count;
    sum.has_other_names |= task.name != last_->first.name;
    sum.since = std::min(sum.since, task.since);
    sum.spawned = std::min(sum.spawned, task.spawned);
  }

  // Each has a clock of its own.
  void EndRegistry(Time now) {
    for (auto& [task, sum] : sums_) {
      if (sum.since == kNever) continue;
      sum.longest = std::max(sum.longest, now - sum.since);
      sum.oldest = std::max(sum.oldest, now - sum.spawned);
      sum.since = sum.spawned = kNever;
    }
  }

  TaskProfile Profile() const {
    TaskProfile profile;
    for (const auto& [task, sum] : sums_) {
      TaskGroup group = GroupOf(task);
      if (sum.has_other_names) group.name += kOtherNames;
      group.count = sum.count;
      group.longest = sum.longest;
      group.oldest = sum.oldest;
      profile.tasks += sum.count;
      profile.groups.push_back(std::move(group));
    }
    Sort(profile.groups);
    return profile;
  }

 private:
  struct Sum {
    int64_t count = 0;
    bool has_other_names = false;
    Time since = kNever;  // the earliest of this registry
    Time spawned = kNever;
    Duration longest{};
    Duration oldest{};
  };
  using Entry = std::pair<const TaskEntry, Sum>;

  Entry& FindOrAdd(const TaskEntry& task) {
    const auto found = places_.find(&task);
    if (found != places_.end()) return *found->second;
    Entry& added = sums_.emplace_back(task, Sum());
    places_.emplace(&added.first, &added);
    return added;
  }

  std::deque<Entry> sums_;  // each stays where it is
  std::unordered_map<const TaskEntry*, Entry*, Alike, Alike> places_;
  Entry* last_ = nullptr;
};

std::string Counted(int64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string Signed(int64_t number) { return (number > 0 ? "+" : "") + std::to_string(number); }

std::string BeforeAndAfter(const TaskGrowth& growth) {
  return "  before " + std::to_string(growth.before) + ", after " + std::to_string(growth.after);
}

// The most first, then in the order of their places.
template <class Growth, class PlaceOf>
void SortByGrowth(std::vector<Growth>& growth, PlaceOf place_of) {
  std::sort(growth.begin(), growth.end(), [&](const Growth& one, const Growth& other) {
    if (one.difference() != other.difference()) return one.difference() > other.difference();
    return place_of(one) < place_of(other);
  });
}

// Takes `prefix` off `text`.
bool Take(std::string_view prefix, std::string_view& text) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Takes "12 tasks" off `text`.
std::optional<int64_t> TakeCount(std::string_view noun, std::string_view& text) {
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 0) return std::nullopt;
  std::string_view rest = text.substr(static_cast<size_t>(end - text.data()));
  if (!Take(" ", rest) || !Take(noun, rest)) return std::nullopt;
  if (count != 1 && !Take("s", rest)) return std::nullopt;
  text = rest;
  return count;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) { Next(); }

  absl::StatusOr<TaskProfile> Parse() {
    std::string_view head = line_;
    const std::optional<int64_t> tasks = TakeCount("task", head);
    const bool has_in = Take(" in ", head);
    const std::optional<int64_t> groups = TakeCount("group", head);
    if (!tasks || !has_in || !groups || !head.empty()) {
      return Wrong("an aggregated dump begins with 'N tasks in M groups'");
    }
    TaskProfile profile;
    profile.tasks = *tasks;
    for (Next(); !at_end_; Next()) {
      absl::StatusOr<TaskGroup> group = ParseGroup();
      if (!group.ok()) return group.status();
      profile.groups.push_back(*std::move(group));
    }
    if (seen_ != *tasks || static_cast<int64_t>(profile.groups.size()) != *groups) {
      return Failure("the dump ends here with " + Counted(seen_, "task") + " in " +
                     Counted(static_cast<int64_t>(profile.groups.size()), "group") +
                     ", of which line 1 says " + std::to_string(*tasks) + " in " +
                     std::to_string(*groups) + ": it is not whole");
    }
    return profile;
  }

 private:
  void Next() {
    ++number_;
    at_end_ = rest_.empty();
    const size_t end = std::min(rest_.find('\n'), rest_.size());
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
  }

  // A blank line, the head, and one or two places.
  absl::StatusOr<TaskGroup> ParseGroup() {
    if (!line_.empty()) return Wrong("a blank line stands before each group");
    Next();
    TaskGroup group;
    std::string_view head = line_;
    const std::optional<int64_t> count = TakeCount("task", head);
    const size_t end = head.find("] ");
    if (!count || !Take(" [", head) || end == head.npos) {
      return Wrong("a group begins with 'N tasks [STATE, ...] NAME'");
    }
    if (*count > std::numeric_limits<int64_t>::max() - seen_) {
      return Failure("with these there are more tasks than can be counted");
    }
    seen_ += *count;
    group.count = *count;
    const std::string_view state = head.substr(0, head.find("] "));
    group.doing = state.substr(0, state.find(','));
    group.cancelled = state.ends_with(kCancelled);
    group.name = head.substr(state.size() + 2);
    Next();
    std::string_view place = line_;
    if (Take(kAt, place)) {
      group.at = place;
      Next();
      place = line_;
    }
    if (!Take(kSpawnedAt, place)) return Wrong("'    spawned at FILE:LINE' ends a group");
    group.spawned_at = place;
    return group;
  }

  absl::Status Wrong(std::string_view expected) const {
    constexpr size_t kShown = 60;
    const std::string found =
        at_end_ ? "not the end" : "not '" + OneLine(line_.substr(0, kShown)) + "'";
    return Failure(std::string(expected) + ", " + found);
  }
  absl::Status Failure(const std::string& what) const {
    return Error(absl::StatusCode::kInvalidArgument,
                 "line " + std::to_string(number_) + ": " + what);
  }

  std::string_view rest_;
  std::string_view line_;
  int64_t number_ = 0;
  int64_t seen_ = 0;  // tasks
  bool at_end_ = false;
};

}  // namespace

TaskProfile internal::Profile(const std::vector<TaskSnapshot>& snapshots) {
  Counter counter;
  for (const TaskSnapshot& snapshot : snapshots) {
    internal::Breather breather;
    for (const TaskEntry& task : snapshot.tasks) {
      if (task.listed) counter.Add(task);
      breather.Step();
    }
    counter.EndRegistry(snapshot.taken);
  }
  return counter.Profile();
}

TaskProfile ProfileAllTasks() {
  Counter counter;
  internal::TaskRegistry::ForEach([&counter](const internal::TaskRegistry& registry) {
    registry.ForEachTask(
        [&counter](const internal::TaskRecord& task) { counter.Add(internal::EntryOf(task)); });
    counter.EndRegistry(registry.clock().Now());
  });
  return counter.Profile();
}

std::string FormatTaskProfile(const TaskProfile& profile) {
  std::string text = Counted(profile.tasks, "task") + " in " +
                     Counted(static_cast<int64_t>(profile.groups.size()), "group") + "\n";
  for (const TaskGroup& group : profile.groups) {
    text += "\n" + Counted(group.count, "task") + " [" + group.doing;
    text += ", longest " + FormatDuration(group.longest);
    text += ", oldest " + FormatDuration(group.oldest);
    if (group.cancelled) text += kCancelled;
    text += "] " + group.name + "\n";
    if (!group.at.empty()) text.append(kAt).append(group.at).append("\n");
    text.append(kSpawnedAt).append(group.spawned_at).append("\n");
  }
  return text;
}

absl::StatusOr<TaskProfile> ParseTaskProfile(std::string_view text) { return Parser(text).Parse(); }

std::vector<SiteGrowth> DiffTaskProfiles(const TaskProfile& before, const TaskProfile& after) {
  std::map<decltype(IdentityOf(TaskGroup())), GroupGrowth> by_identity;
  for (const TaskGroup& group : after.groups) {
    GroupGrowth& growth = by_identity[IdentityOf(group)];
    growth.group = group;
    growth.after += group.count;
  }
  for (const TaskGroup& group : before.groups) {
    GroupGrowth& growth = by_identity[IdentityOf(group)];
    if (growth.after == 0) growth.group = group;
    growth.before += group.count;
  }
  std::vector<SiteGrowth> sites;
  for (auto& [identity, growth] : by_identity) {
    const std::string& spawned_at = growth.group.spawned_at;
    if (sites.empty() || sites.back().spawned_at != spawned_at) {
      sites.emplace_back().spawned_at = spawned_at;
    }
    SiteGrowth& site = sites.back();
    site.before += growth.before;
    site.after += growth.after;
    if (growth.difference() != 0) site.groups.push_back(std::move(growth));
  }
  std::erase_if(sites, [](const SiteGrowth& site) { return site.difference() == 0; });
  SortByGrowth(sites, [](const SiteGrowth& site) { return std::string_view(site.spawned_at); });
  for (SiteGrowth& site : sites) {
    SortByGrowth(site.groups, [](const GroupGrowth& each) { return IdentityOf(each.group); });
  }
  return sites;
}

std::string FormatTaskGrowth(const std::vector<SiteGrowth>& growth) {
  int64_t sum = 0;
  std::string blocks;
  for (const SiteGrowth& site : growth) {
    sum += site.difference();
    blocks += "\n" + Signed(site.difference()) + " spawned at " + site.spawned_at;
    blocks += BeforeAndAfter(site) + "\n";
    for (const GroupGrowth& each : site.groups) {
      blocks += "    " + Signed(each.difference()) + " [" + each.group.doing;
      if (each.group.cancelled) blocks += kCancelled;
      blocks += "] " + each.group.name;
      if (!each.group.at.empty()) blocks += ", at " + each.group.at;
      blocks += BeforeAndAfter(each) + "\n";
    }
  }
  return Signed(sum) + " tasks, " + Counted(static_cast<int64_t>(growth.size()), "spawn line") +
         " changed\n" + blocks;
}

}  // namespace nursery
