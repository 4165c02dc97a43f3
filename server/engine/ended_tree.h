// EndedTree: what can still be asked of a job whose tree has ended, in few bytes for each node. Its
// lines are kept compressed; what its nodes have written is kept as it is.
//
// Thread safety: immutable.
#ifndef NURSERY_SERVER_ENGINE_ENDED_TREE_H_
#define NURSERY_SERVER_ENGINE_ENDED_TREE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nursery/v1/resources.pb.h"
#include "server/engine/compress.h"
#include "server/engine/node_view.h"
#include "server/spec/job.h"

namespace nursery::engine {

class Job;

class EndedTree {
 public:
  // Of a job that has ended.
  EndedTree(const Job& job, const spec::Job& spec);

  // As the functions of Job.
  v1::Job Describe() const;
  std::vector<NodeView> View(size_t limit, const std::string& path, int depth) const;
  std::optional<NodeView> ViewOf(std::string_view path) const;
  std::vector<OutputView> Outputs(const std::string& path, bool below) const;
  std::optional<NodeState> StateOf(std::string_view path) const;
  bool Knows(std::string_view path) const;
  NodeState state() const { return state_; }
  const std::array<int64_t, 8>& counts() const { return counts_; }
  int64_t last_seq() const { return last_seq_; }

  // Of its compressed parts, in bytes.
  size_t size() const { return resource_.size() + views_.size() + paths_.size(); }

 private:
  std::vector<NodeView> AllViews() const;

  const NodeState state_;
  const std::array<int64_t, 8> counts_;
  const int64_t last_seq_;
  Compressed resource_;
  Compressed views_;
  // Paths of the job file, one in each line, items of maps as in "fetch[]": neither they nor what
  // was never opened have a line in the tree.
  Compressed paths_;
  const std::vector<OutputView> outputs_;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_ENDED_TREE_H_
