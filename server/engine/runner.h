// The coroutines that run a tree, one file for each kind of node. Only Job includes this.
//
// Every step of a node's life goes through Tree; a runner decides what the next step is, waits, and
// gives back what it took only when what used it has verifiably ended.
#ifndef NURSERY_SERVER_ENGINE_RUNNER_H_
#define NURSERY_SERVER_ENGINE_RUNNER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "nursery/core/async.h"
#include "nursery/core/context.h"
#include "nursery/core/semaphore.h"
#include "server/engine/action.h"
#include "server/engine/named_semaphore.h"
#include "server/engine/pool.h"
#include "server/engine/tree.h"

namespace nursery::engine {

// What all runners of one job share. Outlives them.
struct Runtime {
  explicit Runtime(Tree& the_tree) : tree(the_tree) {}

  Tree& tree;
  ActionRunner* actions = nullptr;
  // By number of spec::Job::pools; the second for `finally` of inner nodes.
  std::vector<Pool*> pools;
  std::vector<std::unique_ptr<Semaphore>> cleanup_slots;
  std::vector<std::shared_ptr<NamedSemaphore>> semaphores;  // by rank
  std::vector<bool> consumed;                               // by node: somebody reads its output
  std::string workdir;
  std::function<absl::StatusOr<std::string>()> job_dir;
  std::function<v1::Containment()> containment;
  uint64_t fair_key = 0;
  // Not reached by the cancellation of the work: clean-up runs under it, KILL cancels it.
  std::optional<Context> shield;
  std::function<double()> random;  // uniform in [0, 1)
};

// Everything from eligible to ended, `finally` included. Nothing of the node is left when it
// returns.
Async<void> RunNode(Context context, Runtime* run, Node* node);
// The same of a node that the runtime has no task for, as `refused` says: it fails as one whose
// only attempt failed, and runs its `finally` here.
Async<void> RefuseNode(Runtime* run, Node* node, absl::Status refused);

// The work of an opened node: returns when its outcome is decided and its children have ended.
Async<void> RunGroup(Context context, Runtime* run, Node* node);
Async<void> RunMap(Context context, Runtime* run, Node* node);
// `queue` is the context until the first attempt has started. Leaves the slot of the last attempt
// in *slot for `finally`.
Async<void> RunAction(Context context, Context queue, Runtime* run, Node* node,
                      const std::vector<Hold>* holds, PoolSlot* slot);
Async<void> RunFinally(Runtime* run, Node* node, const std::vector<Hold>* holds, bool has_slot);

// Decides `node`, or the node above it whose scope it was, because `context` has been cancelled.
void DecideByContext(const Context& context, Runtime& run, Node& node);

// How `node` ended, for the accounting of its parent.
ChildEnd EndOf(const Tree& tree, const Node& node, uint32_t child);

// Decides a group or map as its join says; `child` is the cause of the child whose end decided it,
// null if there is none.
void ApplyDecision(Tree& tree, Node& node, const JoinDecision& decision,
                   const std::shared_ptr<const v1::Cause>& child);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_RUNNER_H_
