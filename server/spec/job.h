// A validated job: what the engine runs. Defaults are filled in, names resolved to numbers,
// durations in range, expressions parsed; nothing here needs another check.
//
// Thread safety: immutable once compiled; share it as std::shared_ptr<const Job>.
//
//   for (NodeIndex child : job.Children(job.root())) Start(job.node(child));
#ifndef NURSERY_SERVER_SPEC_JOB_H_
#define NURSERY_SERVER_SPEC_JOB_H_

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nursery/core/clock.h"
#include "server/spec/expression.h"
#include "server/spec/items.h"

namespace nursery::spec {

inline constexpr NodeIndex kNoNode = -1;

// Where in the job file something was said; line 0: unknown.
struct SourceMark {
  bool operator==(const SourceMark&) const = default;

  uint32_t line = 0;
  uint32_t column = 0;
};

// A bound on time and who set it. kUnlimited: there is none.
struct TimeLimit {
  static constexpr Duration kUnlimited = Duration::max();

  bool limited() const { return limit != kUnlimited; }
  bool operator==(const TimeLimit&) const = default;

  Duration limit = kUnlimited;
  SourceMark mark;
};

// Environment variables of one level; an inner level wins over its outer ones.
struct EnvLayer {
  struct Variable {
    std::string name;
    Template value;
  };
  std::shared_ptr<const EnvLayer> outer;  // null: the outermost
  std::vector<Variable> variables;
};

// What a process reads; monostate: /dev/null.
struct StdinText {
  bool operator==(const StdinText&) const = default;

  Template text;
};
struct StdinFile {
  bool operator==(const StdinFile&) const = default;

  Template path;  // relative to the cwd
};
struct StdinOutput {
  bool operator==(const StdinOutput&) const = default;

  NodeIndex sibling = kNoNode;  // a need of the node or of one around it
};
using Stdin = std::variant<std::monostate, StdinText, StdinFile, StdinOutput>;

// Of everything that the process starts, and RLIMITs of each; unset ones stay as the server has
// them.
struct ProcessLimits {
  std::optional<uint64_t> memory;
  std::optional<uint64_t> pids;
  std::optional<uint64_t> cpu_weight;
  std::optional<uint64_t> open_files;
  std::optional<uint64_t> file_size;
  std::optional<uint64_t> address_space;
  std::optional<std::chrono::seconds> cpu_time;
  bool core = false;
  int nice = 0;
};

// What few programs need said.
struct ExecOptions {
  bool operator==(const ExecOptions&) const = default;

  std::optional<Template> cwd;  // relative to the job's workdir
  Stdin input;
  std::optional<int64_t> max_output;  // spool cap; unset: the server's
  bool merge_output = false;
  bool json_output = false;
  std::shared_ptr<const ProcessLimits> limits;  // null: none
  std::string user;                             // empty: the server's own
};

struct Exec {
  bool operator==(const Exec&) const = default;

  std::vector<Template> argv;                  // at least one
  std::shared_ptr<const EnvLayer> env;         // may be null
  std::shared_ptr<const ExecOptions> options;  // never null; shared by all that say the same
};

struct Sleep {
  bool operator==(const Sleep&) const = default;

  Duration duration{};
  std::optional<Template> expression;  // instead of duration; gives text as in 10s
};

struct Call {
  bool operator==(const Call&) const = default;

  std::string function;
  Template argument;
};

using Action = std::variant<Exec, Sleep, Call>;

struct RetryPolicy {
  int max_attempts = 1;
  Duration initial = std::chrono::seconds(1);
  Duration max = std::chrono::seconds(60);
  double multiplier = 2;
  double jitter = 0.2;
  std::vector<int> exit_codes;  // sorted; empty: every failure
};

struct Join {
  enum class Policy { kAll, kCollect, kAny, kQuorum, kMaxFailures, kMaxFailuresPercent };

  Policy policy = Policy::kAll;
  int64_t count = 0;   // kQuorum, kMaxFailures
  double percent = 0;  // kMaxFailuresPercent
};

struct Acquire {
  bool operator==(const Acquire&) const = default;

  int semaphore = 0;  // number in Job::semaphores, which is also its rank
  int64_t weight = 1;
  std::optional<Template> expression;  // instead of weight; checked against the size when it runs
};

struct Finally {
  Action action;
  Duration timeout = std::chrono::seconds(30);
};

struct Group {
  int limit = 0;  // 0: none
  Join join;
};

struct ItemsOfOutput {
  NodeIndex sibling = kNoNode;  // a need; its lines, or outputs of items, are the items
};

struct Map {
  std::variant<ItemSet, ItemsOfOutput> items;
  int workers = 0;  // 0: as many as the pool has slots
  std::optional<Template> key;
  Join join;
};

enum class Kind : uint8_t { kGroup, kMap, kAction };
enum class When : uint8_t { kSuccess, kFailure, kAlways };

// What nodes say of their times and resources; most of them the same.
struct NodeOptions {
  bool operator==(const NodeOptions&) const = default;

  TimeLimit timeout;                               // eligible to outcome
  TimeLimit attempt_timeout;                       // actions only; spawn to outcome
  Duration queue_timeout = TimeLimit::kUnlimited;  // eligible to first attempt started
  Duration idle_timeout = TimeLimit::kUnlimited;   // exec only; nothing written for so long
  Duration grace = std::chrono::seconds(5);        // SIGTERM to SIGKILL; inherited
  std::optional<WallTime> not_before;
  std::optional<WallTime> deadline;
  std::shared_ptr<const RetryPolicy> retry;  // null: one attempt
  int32_t max_interruptions = 3;
  std::vector<Acquire> acquire;  // in rank order
};

// A vertex of the tree. A map has exactly one child, the node it runs for each item. A job may have
// a million of them: what few nodes have is kept apart, what many share is kept once.
struct Node {
  // Siblings, sorted.
  struct Ties {
    std::vector<NodeIndex> needs;
    std::vector<NodeIndex> dependents;
  };

  const std::vector<NodeIndex>& needs() const { return ties ? ties->needs : kNone; }
  const std::vector<NodeIndex>& dependents() const { return ties ? ties->dependents : kNone; }

  std::string name;  // empty for a map's node
  NodeIndex index = 0;
  NodeIndex parent = kNoNode;
  NodeIndex first_child = kNoNode;  // children are contiguous
  int32_t child_count = 0;
  Kind kind = Kind::kAction;
  When when = When::kSuccess;
  bool allow_failure = false;
  uint8_t priority = 5;                                     // inherited
  uint16_t pool = 0;                                        // number in Job::pools; inherited
  std::shared_ptr<const NodeOptions> options = Defaults();  // shared by all that say the same
  std::unique_ptr<Ties> ties;                               // null: it neither needs nor is needed
  std::unique_ptr<const Finally> finally;                   // null: none
  // By `kind`.
  std::unique_ptr<const Group> group;
  std::unique_ptr<const Map> map;
  std::shared_ptr<const Action> action;  // shared by those that do the same

 private:
  static std::shared_ptr<const NodeOptions> Defaults();
  static const std::vector<NodeIndex> kNone;
};

struct Semaphore {
  std::string name;
  int64_t size = 1;
  std::vector<std::string> units;  // empty, or `size` of them
  bool of_server = false;          // one of its configuration, shared by all jobs
};

struct Job {
  std::string name;
  std::string source_file;  // empty: not from a file
  // Unset: the server's default applies. Set to kUnlimited: `none` was said.
  std::optional<TimeLimit> timeout;
  std::string workdir;  // empty: not said; "scratch"; or an absolute path
  std::map<std::string, std::string> labels;
  std::vector<Semaphore> semaphores;  // those of the server that it uses come first
  std::vector<std::string> pools;     // names that nodes use
  // Every parent before its children; node 0 is the root.
  std::vector<Node> nodes;
  // The first kMaxToldLimits of those that do not hold here, each with its path and the reason.
  std::vector<std::string> limits_not_enforced;
  // One of its processes has a limit of memory, pids or cpu_weight.
  bool has_tree_limits = false;
  // A cancel at any time is verified complete within this and 250 ms.
  Duration max_teardown{};

  const Node& node(NodeIndex index) const { return nodes[static_cast<size_t>(index)]; }
  NodeIndex root() const { return 0; }
  // The children of `index`, as indices.
  auto Children(NodeIndex index) const {
    const Node& parent = node(index);
    return std::views::iota(parent.first_child, parent.first_child + parent.child_count);
  }
  // The node that `path` leads to, whichever item of a map it names; kNoNode: there is none.
  NodeIndex Find(std::string_view path) const;
  // "build/test"; a map's node ends in "[]"; the root's is empty.
  std::string PathOf(NodeIndex index) const;
};

// The variables of `exec`, outermost first: a later one replaces an earlier one of the same name.
std::vector<const EnvLayer::Variable*> Environment(const Exec& exec);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_JOB_H_
