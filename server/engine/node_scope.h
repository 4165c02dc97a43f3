// NodeScope: what the expressions of a running node can see: its items, its siblings' outputs, its
// attempt and what it holds.
//
// Thread safety: the thread that runs the node. Lifetime: a local of the node's runner.
#ifndef NURSERY_SERVER_ENGINE_NODE_SCOPE_H_
#define NURSERY_SERVER_ENGINE_NODE_SCOPE_H_

#include <string>
#include <utility>
#include <vector>

#include "server/engine/runner.h"
#include "server/spec/expression.h"

namespace nursery::engine {

class NodeScope final : public spec::Scope {
 public:
  NodeScope(const Runtime& run, const Node& node, const std::vector<Hold>& holds)
      : run_(run), node_(node), holds_(holds) {}

  absl::StatusOr<spec::Value> Item(spec::NodeIndex map) const override;
  int64_t Index(spec::NodeIndex map) const override;
  std::string Key(spec::NodeIndex map) const override;
  absl::StatusOr<std::string> Output(spec::NodeIndex sibling) const override;
  std::string JobId() const override { return run_.tree.id(); }
  std::string JobName() const override { return run_.tree.job().name; }
  absl::StatusOr<std::string> JobDir() const override { return run_.job_dir(); }
  int Attempt() const override { return node_.attempt; }
  std::string Units(int semaphore) const override;

  // NURSERY_JOB_ID, NURSERY_PATH, NURSERY_ITEM and the like.
  std::vector<std::pair<std::string, std::string>> Environment(Time deadline) const;
  // Opens the output of `sibling` from its start; of a map, a line of JSON for each item.
  absl::StatusOr<int> OpenOutput(spec::NodeIndex sibling) const;
  // Its lines, or the outputs of a map's items that succeeded.
  absl::StatusOr<std::shared_ptr<const spec::ItemSet>> OutputAsItems(spec::NodeIndex sibling) const;

 private:
  const Node& ItemNode(spec::NodeIndex map) const;
  const Node& Sibling(spec::NodeIndex sibling) const;
  // FAILED_PRECONDITION: it has none, because it has not run.
  absl::StatusOr<std::shared_ptr<const engine::Output>> OutputOf(const Node& node) const;

  const Runtime& run_;
  const Node& node_;
  const std::vector<Hold>& holds_;
};

// The items of `map`, which are the output of `sibling`.
absl::StatusOr<std::shared_ptr<const spec::ItemSet>> ItemsOfOutput(const Runtime& run,
                                                                   const Node& map,
                                                                   spec::NodeIndex sibling);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_NODE_SCOPE_H_
