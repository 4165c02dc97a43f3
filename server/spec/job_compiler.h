// The walk behind compile.h over one spec. compile.cc has the job, compile_node.cc what all nodes
// share, compile_group.cc needs and joins, compile_map.cc items, compile_action.cc the actions.
#ifndef NURSERY_SERVER_SPEC_JOB_COMPILER_H_
#define NURSERY_SERVER_SPEC_JOB_COMPILER_H_

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "nursery/v1/job.pb.h"
#include "server/spec/compile.h"
#include "server/spec/expression_parser.h"

namespace nursery::spec {

class JobCompiler {
 public:
  JobCompiler(const v1::JobSpec& spec, const CompileOptions& options)
      : spec_(spec), options_(options) {}

  CompileResult Run();

 private:
  // What a node has from its ancestors and what its expressions can see. Lives on the stack while
  // the node and those below it are compiled.
  struct Frame {
    const Frame* outer = nullptr;
    NodeIndex node = kNoNode;
    int depth = 0;
    // Of a group, while its children are compiled: who they are.
    const std::unordered_map<std::string_view, NodeIndex>* children = nullptr;
    // Of a map, while its key or its node is compiled: what its item is called.
    std::string item_name;
    // Defaults.
    std::optional<TimeLimit> timeout;
    std::optional<TimeLimit> attempt_timeout;
    std::shared_ptr<const RetryPolicy> retry;
    std::shared_ptr<const EnvLayer> env;
    std::optional<Template> cwd;
    // Inherited.
    uint16_t pool = 0;
    uint8_t priority = 5;
    Duration grace = std::chrono::seconds(5);
    // The highest semaphore that an ancestor or the node itself holds.
    int top_rank = -1;
    NodeIndex top_holder = kNoNode;
  };
  // Resolves names for the node of a frame.
  class FrameNames;

  // compile.cc
  void CompileJob();
  void CompileJobTimeout();
  void CompileLabels();
  void AddServerSemaphores();
  void CollectServerNames(const v1::NodeSpec& node, std::set<std::string>* names) const;
  void CompileSemaphores();
  void CompileUnits(const v1::SemaphoreSpec& spec, Semaphore& semaphore);
  void CheckParams();
  void CheckJobFeatures();
  int64_t CountNodes(const v1::NodeSpec& node) const;
  std::vector<double> Multiplicities() const;
  void ComputeTeardown();

  // compile_node.cc
  void CompileNode(NodeIndex index, const v1::NodeSpec& spec, const Frame& outer);
  void CompileTimes(const v1::NodeSpec& spec, Frame& frame, Kind kind, NodeOptions& options);
  void CompileActionOnly(const v1::NodeSpec& spec, const Frame& frame, Kind kind,
                         NodeOptions& options);
  void CompileQueueing(const v1::NodeSpec& spec, Frame& frame, Node& node);
  void CompileAcquire(const v1::NodeSpec& spec, Frame& frame, NodeOptions& options);
  std::optional<Acquire> CompileOneAcquire(const v1::AcquireSpec& spec, const Frame& frame);
  // Its number; nothing after a violation.
  std::optional<int> FindSemaphore(const v1::AcquireSpec& spec);
  void CompileWeight(const v1::AcquireSpec& spec, const Frame& frame, Acquire& acquire);
  void CheckRank(const Acquire& acquire, const Frame& frame);
  void CompileFinally(const v1::NodeSpec& spec, const Frame& frame, Node& node);
  void CompileKind(const v1::NodeSpec& spec, Frame& frame, Node& node);
  void ApplyDefaults(const v1::Defaults& defaults, Frame& frame);
  std::shared_ptr<const RetryPolicy> CompileRetry(const v1::RetryPolicy& spec);
  void CompileBackoff(const v1::Backoff& spec, RetryPolicy& policy);

  // compile_group.cc
  void CompileGroup(const v1::GroupSpec& spec, Frame& frame, Node& node);
  using NamedNodes = std::unordered_map<std::string_view, NodeIndex>;
  NamedNodes AddChildren(const v1::GroupSpec& spec, Node& node);
  static Node::Ties& TiesOf(Node& node);
  void ResolveNeeds(const v1::GroupSpec& spec, const Node& node, const NamedNodes& siblings);
  void WarnOfRescue(const v1::GroupSpec& spec, int child);
  void NotASibling(const std::string& need, const v1::GroupSpec& spec, const std::string& self);
  // Path of a node called `name` at or below `node`, whose path is `path`; empty if there is none.
  std::string FindPath(const v1::NodeSpec& node, const std::string& path,
                       const std::string& name) const;
  void CheckCycles(const v1::GroupSpec& spec, const Node& node);
  void FailCycle(const v1::GroupSpec& spec, const Node& node, std::vector<NodeIndex> cycle);
  // `children`: how many there will be, or -1 if that is not known yet.
  Join CompileJoin(const v1::Join& spec, int64_t children);

  // compile_map.cc
  void CompileMap(const v1::MapSpec& spec, Frame& frame, Node& node);
  void CompileKey(const v1::MapSpec& spec, const Frame& frame, const Node& node, Map& map);
  void CompileItems(const v1::Items& spec, const Frame& frame, Map& map);
  std::optional<ItemSet> CompileList(const v1::ItemList& spec);
  std::optional<ItemSet> CompileRange(const v1::RangeItems& spec);
  std::optional<ItemSet> CompileMatrix(const v1::MatrixItems& spec);
  std::optional<ItemSet::Exclusion> CompileExclusion(const v1::MatrixExclude& spec,
                                                     const std::vector<ItemSet::Axis>& axes);
  std::string CompileItemName(const v1::MapSpec& spec, const Frame& frame);

  // compile_action.cc. S is NodeSpec or FinallySpec: both have one of the actions.
  template <typename S>
  std::optional<Action> CompileAction(const S& spec, const Frame& frame);
  Exec CompileExec(const v1::ExecAction& spec, const Frame& frame);
  void CompileArgv(const v1::ExecAction& spec, const Frame& frame, Exec& exec);
  void WarnOfShell(const Exec& exec);
  std::shared_ptr<const EnvLayer> CompileEnv(
      const google::protobuf::Map<std::string, std::string>& env, const Frame& frame);
  Stdin CompileStdin(const v1::StdinSpec& spec, const Frame& frame);
  void CompileOutput(const v1::OutputSpec& spec, ExecOptions& options);
  std::shared_ptr<const ProcessLimits> CompileLimits(const v1::ResourceLimits& spec);
  std::optional<uint64_t> CompileLimit(std::string_view field, int64_t value, int64_t high);
  // Of everything that the process starts together.
  std::optional<uint64_t> CompileTreeLimit(std::string_view field, int64_t value, int64_t high);
  void CheckUser(const std::string& user);
  Sleep CompileSleep(const v1::SleepAction& spec, const Frame& frame);
  Call CompileCall(const v1::CallAction& spec, const Frame& frame);
  // The node among those needed here whose output `name` is; kNoNode after a violation.
  NodeIndex CompileOutputOf(const std::string& name, const Frame& frame);

  // compile_field.cc: single fields. Each takes the field's name for the path.
  bool CheckName(std::string_view field, const std::string& name);
  bool CheckRange(std::string_view field, int64_t value, int64_t low, int64_t high);
  Duration CompileDuration(std::string_view field, const google::protobuf::Duration& value,
                           Duration low, Duration high);
  TimeLimit CompileTimeLimit(std::string_view field, const v1::TimeLimit& limit);
  std::optional<WallTime> CompileTime(std::string_view field,
                                      const google::protobuf::Timestamp& time);
  Template CompileTemplate(std::string_view field, const std::string& text, const Frame& frame);
  uint16_t CompilePool(std::string_view field, const std::string& name);
  // The need called `name` of the frame's node or else of the nearest node around it.
  std::optional<NodeIndex> NeedNamed(std::string_view name, const Frame& from) const;
  // Why the output of `node` cannot be used; empty if it can.
  std::string NoOutput(NodeIndex node) const;
  void NotInThisVersion(std::string_view field);

  // It is one of the server's configuration.
  bool IsOfServer(const std::string& semaphore) const;

  void Fail(std::string_view field, std::string message);

  // One object for equal ones among those made last.
  template <class T>
  class Shared {
   public:
    std::shared_ptr<const T> Of(T value) {
      for (const auto& each : recent_) {
        if (each != nullptr && *each == value) return each;
      }
      std::shared_ptr<const T>& place = recent_[next_++ % recent_.size()];
      place = std::make_shared<const T>(std::move(value));
      return place;
    }

   private:
    std::array<std::shared_ptr<const T>, 8> recent_;
    size_t next_ = 0;
  };

  const v1::JobSpec& spec_;
  const CompileOptions& options_;
  std::optional<LimitReasons> not_enforced_;  // once a limit was met
  Shared<NodeOptions> node_options_;
  Shared<ExecOptions> exec_options_;
  Shared<Action> actions_;
  std::shared_ptr<Job> job_ = std::make_shared<Job>();
  FieldPath path_;
  ViolationList violations_;
  ViolationList warnings_;
  std::vector<const v1::NodeSpec*> specs_;  // by node
  std::unordered_map<std::string, int> semaphores_;
  std::unordered_map<std::string, uint16_t> pools_;
};

// [A-Za-z0-9._-]{1,64}, less "." and "..".
bool IsName(std::string_view text);
// [A-Za-z_][A-Za-z0-9_]*
bool IsIdentifier(std::string_view text);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_JOB_COMPILER_H_
