#include <algorithm>
#include <functional>

#include "server/spec/job_compiler.h"

namespace nursery::spec {

void JobCompiler::CompileGroup(const v1::GroupSpec& spec, Frame& frame, Node& node) {
  const NamedNodes children = AddChildren(spec, node);
  auto group = std::make_unique<Group>();
  if (CheckRange("limit", spec.limit(), 0, options_.limits.nodes_per_job)) {
    group->limit = spec.limit();
  }
  if (spec.has_output()) NotInThisVersion("output");
  group->join = CompileJoin(spec.join(), spec.nodes_size());
  node.group = std::move(group);
  ResolveNeeds(spec, node, children);
  CheckCycles(spec, node);
  frame.children = &children;
  for (int i = 0; i < spec.nodes_size(); ++i) {
    const FieldPath::Segment list = path_.Enter("nodes");
    const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(i));
    CompileNode(node.first_child + i, spec.nodes(i), frame);
  }
  frame.children = nullptr;
}

JobCompiler::NamedNodes JobCompiler::AddChildren(const v1::GroupSpec& spec, Node& node) {
  node.first_child = static_cast<NodeIndex>(job_->nodes.size());
  node.child_count = spec.nodes_size();
  NamedNodes children;
  for (int i = 0; i < spec.nodes_size(); ++i) {
    const FieldPath::Segment list = path_.Enter("nodes");
    const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(i));
    const std::string& name = spec.nodes(i).name();
    const auto [first, is_new] = children.emplace(name, node.first_child + i);
    if (CheckName("name", name) && !is_new) {
      const NodeIndex other = first->second - node.first_child;
      Fail("name", "'" + name + "' is the name of nodes[" + std::to_string(other) +
                       "] too; siblings need different names");
    }
    Node& child = job_->nodes.emplace_back();
    child.name = name;
    child.parent = node.index;
    child.index = static_cast<NodeIndex>(job_->nodes.size() - 1);
    specs_.push_back(&spec.nodes(i));
  }
  return children;
}

Node::Ties& JobCompiler::TiesOf(Node& node) {
  if (node.ties == nullptr) node.ties = std::make_unique<Node::Ties>();
  return *node.ties;
}

void JobCompiler::ResolveNeeds(const v1::GroupSpec& spec, const Node& node,
                               const NamedNodes& siblings) {
  const Join::Policy policy = node.group->join.policy;
  const bool first_wins = policy == Join::Policy::kAny || policy == Join::Policy::kQuorum;
  for (int i = 0; i < spec.nodes_size(); ++i) {
    if (spec.nodes(i).needs_size() == 0) continue;
    const FieldPath::Segment list = path_.Enter("nodes");
    const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(i));
    const FieldPath::Segment needs_segment = path_.Enter("needs");
    if (first_wins) {
      Fail("", "has no meaning in a group with join any or quorum, where any child may decide");
      continue;
    }
    Node& child = job_->nodes[static_cast<size_t>(node.first_child + i)];
    std::vector<NodeIndex> needs;
    for (int j = 0; j < spec.nodes(i).needs_size(); ++j) {
      const FieldPath::Segment item = path_.Enter(static_cast<size_t>(j));
      const std::string& need = spec.nodes(i).needs(j);
      const auto found = siblings.find(need);
      if (found == siblings.end()) {
        NotASibling(need, spec, child.name);
      } else if (found->second == child.index) {
        Fail("", "'" + need + "' is the node itself");
      } else if (std::find(needs.begin(), needs.end(), found->second) != needs.end()) {
        Fail("", "'" + need + "' is listed twice");
      } else {
        needs.push_back(found->second);
      }
    }
    if (policy == Join::Policy::kAll) WarnOfRescue(spec, i);
    std::sort(needs.begin(), needs.end());
    for (const NodeIndex need : needs) {
      TiesOf(job_->nodes[static_cast<size_t>(need)]).dependents.push_back(child.index);
    }
    TiesOf(child).needs = std::move(needs);
  }
}

// Under `all` the first failure closes the group, and with it the node that waits for a failure.
void JobCompiler::WarnOfRescue(const v1::GroupSpec& spec, int child) {
  const v1::NodeSpec& node = spec.nodes(child);
  if (node.when() != v1::WHEN_FAILURE && node.when() != v1::WHEN_ALWAYS) return;
  const auto& needs = node.needs();
  const bool tolerated = std::any_of(needs.begin(), needs.end(), [&](const std::string& need) {
    return std::any_of(spec.nodes().begin(), spec.nodes().end(), [&](const v1::NodeSpec& each) {
      return each.name() == need && each.allow_failure();
    });
  });
  if (tolerated) return;
  warnings_.Add({path_.text(),
                 "does not run after a failure: join `all` closes the group at the first one; "
                 "use `join: collect`, or `allow_failure: true` on what it needs"});
}

void JobCompiler::NotASibling(const std::string& need, const v1::GroupSpec& spec,
                              const std::string& self) {
  // What follows looks at the whole tree: not for every violation of a large job.
  constexpr size_t kExplained = 10;
  if (violations_.total() >= kExplained) return Fail("", "'" + need + "' is not a sibling");
  const std::string elsewhere = need.empty() ? "" : FindPath(spec_.root(), "", need);
  if (!elsewhere.empty()) {
    const size_t slash = elsewhere.rfind('/');
    const std::string group =
        slash == elsewhere.npos ? "the root" : "'" + elsewhere.substr(0, slash) + "'";
    return Fail("", "'" + need + "' is not a sibling but in " + group +
                        "; needs name siblings only: lift it to the common group");
  }
  std::vector<std::string> siblings;
  for (const v1::NodeSpec& sibling : spec.nodes()) {
    if (sibling.name() != self) siblings.push_back(sibling.name());
  }
  Fail("", "'" + need + "' is not a sibling" +
               (siblings.empty() ? "; there are none" : "; siblings: " + Listed(siblings)));
}

std::string JobCompiler::FindPath(const v1::NodeSpec& node, const std::string& path,
                                  const std::string& name) const {
  if (node.has_map()) return FindPath(node.map().node(), path + "[]", name);
  for (const v1::NodeSpec& child : node.group().nodes()) {
    const std::string child_path = path.empty() ? child.name() : path + "/" + child.name();
    if (child.name() == name) return child_path;
    std::string found = FindPath(child, child_path, name);
    if (!found.empty()) return found;
  }
  return "";
}

// Takes away, again and again, what needs nothing that is left; what remains is in or behind a
// cycle, and following needs from there runs into it.
void JobCompiler::CheckCycles(const v1::GroupSpec& spec, const Node& node) {
  std::vector<size_t> open(static_cast<size_t>(node.child_count));
  std::vector<NodeIndex> free;
  for (const NodeIndex child : job_->Children(node.index)) {
    open[static_cast<size_t>(child - node.first_child)] = job_->node(child).needs().size();
    if (job_->node(child).needs().empty()) free.push_back(child);
  }
  size_t taken = 0;
  for (; !free.empty(); ++taken) {
    const NodeIndex next = free.back();
    free.pop_back();
    for (const NodeIndex dependent : job_->node(next).dependents()) {
      if (--open[static_cast<size_t>(dependent - node.first_child)] == 0) free.push_back(dependent);
    }
  }
  if (taken == open.size()) return;
  const auto blocked = [&](NodeIndex child) {
    return open[static_cast<size_t>(child - node.first_child)] > 0;
  };
  NodeIndex at = node.first_child;
  while (!blocked(at)) ++at;
  std::vector<NodeIndex> walk;
  std::vector<bool> walked(open.size());
  while (!walked[static_cast<size_t>(at - node.first_child)]) {
    walked[static_cast<size_t>(at - node.first_child)] = true;
    walk.push_back(at);
    const std::vector<NodeIndex>& needs = job_->node(at).needs();
    at = *std::find_if(needs.begin(), needs.end(), blocked);
  }
  walk.erase(walk.begin(), std::find(walk.begin(), walk.end(), at));
  FailCycle(spec, node, walk);
}

void JobCompiler::FailCycle(const v1::GroupSpec& spec, const Node& node,
                            std::vector<NodeIndex> cycle) {
  std::rotate(cycle.begin(), std::min_element(cycle.begin(), cycle.end()), cycle.end());
  std::string text = "cycle: ";
  constexpr size_t kNamed = 10;
  for (size_t i = 0; i < cycle.size() && i < kNamed; ++i) {
    text += job_->node(cycle[i]).name + " needs ";
  }
  if (cycle.size() > kNamed) {
    text += "... (" + std::to_string(cycle.size() - kNamed) + " more) needs ";
  }
  text += job_->node(cycle.front()).name;
  const NodeIndex first = cycle.front() - node.first_child;
  const FieldPath::Segment list = path_.Enter("nodes");
  const FieldPath::Segment segment = path_.Enter(static_cast<size_t>(first));
  const FieldPath::Segment needs = path_.Enter("needs");
  const std::string& next = job_->node(cycle[1]).name;
  for (int j = 0; j < spec.nodes(first).needs_size(); ++j) {
    if (spec.nodes(first).needs(j) != next) continue;
    const FieldPath::Segment item = path_.Enter(static_cast<size_t>(j));
    return Fail("", text);
  }
}

Join JobCompiler::CompileJoin(const v1::Join& spec, int64_t children) {
  const FieldPath::Segment segment = path_.Enter("join");
  Join join;
  const std::string only = "but there are only " + std::to_string(children) + " children";
  if (spec.has_quorum()) {
    join.policy = Join::Policy::kQuorum;
    join.count = spec.quorum();
    if (CheckRange("quorum", join.count, 1, options_.limits.items_per_map) && children >= 0 &&
        join.count > children) {
      Fail("quorum", std::to_string(join.count) + " must succeed, " + only);
    }
  } else if (spec.has_max_failures()) {
    join.policy = Join::Policy::kMaxFailures;
    join.count = spec.max_failures();
    CheckRange("max_failures", join.count, 0, options_.limits.items_per_map);
  } else if (spec.has_max_failures_percent()) {
    join.policy = Join::Policy::kMaxFailuresPercent;
    join.percent = spec.max_failures_percent();
    if (!(join.percent > 0 && join.percent <= 100)) {
      Fail("max_failures_percent", "must be more than 0% and at most 100%");
    }
  } else if (spec.mode() == v1::JOIN_MODE_COLLECT) {
    join.policy = Join::Policy::kCollect;
  } else if (spec.mode() == v1::JOIN_MODE_ANY) {
    join.policy = Join::Policy::kAny;
    if (children == 0) Fail("", "any needs at least one child");
  }
  return join;
}

}  // namespace nursery::spec
