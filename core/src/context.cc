#include "nursery/core/context.h"

#include <iterator>
#include <vector>

#include "nursery/core/executor.h"
#include "nursery/core/internal/after_func.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/internal/planted.h"
#include "nursery/core/status.h"

namespace nursery {

std::string_view Name(CauseKind kind) {
  static constexpr std::string_view kNames[] = {"explicit",      "deadline",    "sibling failed",
                                                "group decided", "scope ended", "shutdown"};
  static_assert(std::size(kNames) == kCauseKindCount);
  return kNames[static_cast<int>(kind)];
}

namespace internal {

namespace {

// More than the coarse clock lags, whatever the kernel's tick is.
constexpr Duration kCoarse = std::chrono::milliseconds(100);

template <class... Args>
std::shared_ptr<Cause> NewCause(Args&&... args) {
  return std::allocate_shared<Cause>(PoolAllocator<Cause>(), std::forward<Args>(args)...);
}

}  // namespace

ContextNode::ContextNode(Executor& executor)
    : executor_(executor), parent_(nullptr), root_(true), shielded_(true), deadline_(kNever) {}

ContextNode::ContextNode(ContextNode& parent, bool shielded, Time deadline, Label label)
    : executor_(parent.executor_),
      parent_(&parent),
      root_(false),
      shielded_(shielded && !PLANTED(shield_ignored)),
      label_(std::move(label)),
      deadline_(deadline),
      values_(parent.values_) {
  parent.Ref();
  const Time inherited = shielded_ ? kNever : parent.deadline_;
  // A later own deadline can never bind: the parent's cancellation arrives first, with its own
  // name.
  timed_ = deadline < inherited || (PLANTED(later_deadline_taken) && deadline != kNever);
  if (!timed_) deadline_ = inherited;
  listed_ = !shielded_ && !parent.root_;
  if (listed_) parent.Adopt(*this);
  if (!timed_ || cancelled()) return;
  // Mostly it is far away, and the coarse clock, which costs a fraction, can tell.
  const Clock& clock = executor_.clock();
  if (deadline_ <= clock.CoarseNow() + kCoarse && deadline_ <= clock.Now()) {
    DeadlineExpired();
  } else if (executor_.timers().Add(*this, deadline_)) {
    executor_.Kick();
  }
}

ContextNode::~ContextNode() {
  if (!listed_) return;
  MutexLock lock(parent_->mutex_);
  ListNode<ChildTag>::Unlink();
}

void ContextNode::Adopt(ContextNode& child) {
  MutexLock lock(mutex_);
  if (!cancelled()) {
    children_.PushBack(&child);
    return;
  }
  MutexLock child_lock(child.mutex_);
  child.Flag(cause_, PLANTED(cancelled_when_adopted) ? executor_.clock().Now() : cause_->time);
}

bool ContextNode::IsLast() {
  if (!timed_) return true;
  executor_.timers().Cancel(*this);
  if (refs_.load(std::memory_order_acquire) != 1) return false;
  timed_ = false;
  return true;
}

void ContextNode::Die() {
  ContextNode* node = this;
  do {
    ContextNode* const parent = node->parent_;
    if (node->timed_) node->executor_.timers().Cancel(*node);
    delete node;
    node = parent != nullptr && parent->LetGo() ? parent : nullptr;
  } while (node != nullptr);
}

bool ContextNode::TryRef() {
  int64_t refs = refs_.load(std::memory_order_relaxed);
  while (refs > 0) {
    if (refs_.compare_exchange_weak(refs, refs + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

// Visits a cancelled subtree with a worklist: depth costs no stack.
class CancelWalk {
 public:
  // The caller has a reference to `top`. Whether this walk cancelled it.
  bool Run(ContextNode& top, std::shared_ptr<const Cause> cause) {
    const bool first = Visit(top, std::move(cause));
    // One instant for all, before the walk, which may be long.
    if (!worklist_.empty() && now_ == kNever) now_ = top.executor_.clock().Now();
    while (!worklist_.empty()) {
      Step step = std::move(worklist_.back());
      worklist_.pop_back();
      Visit(*step.node, std::move(step.cause));
      step.node->Unref();
    }
    return first;
  }
  Cancelled& cancelled() { return cancelled_; }

 private:
  struct Step {
    ContextNode* node;
    std::shared_ptr<const Cause> cause;
  };

  // Mostly no deadline is so near the cause that the instant is needed exactly.
  bool HasPassed(const ContextNode& node, const Cause& cause) {
    if (now_ == kNever && node.deadline_ > Later(cause.time, kCoarse)) return false;
    if (now_ == kNever) now_ = node.executor_.clock().Now();
    return node.deadline_ < now_;
  }

  bool Visit(ContextNode& node, std::shared_ptr<const Cause> cause) {
    // A deadline that had passed before the cancel was first, however late its timer.
    if (node.timed_ && HasPassed(node, *cause) && !PLANTED(late_timer_loses)) {
      cause = node.DeadlineCause();
    }
    const Time time = cause->time;
    MutexLock lock(node.mutex_);
    if (node.cancelled() && !PLANTED(second_cause_wins)) return false;
    node.Flag(std::move(cause), time);
    while (CancelHook* hook = node.hooks_.PopFront()) hook->OnCancel(cancelled_);
    while (ContextNode* child = node.children_.PopFront()) {
      if (PLANTED(child_not_cancelled)) continue;
      // A child whose count is zero is about to unlink itself; it has nobody left to tell.
      if (child->TryRef()) worklist_.push_back({child, node.cause_});
    }
    return true;
  }

  Time now_ = kNever;  // once it is needed
  std::vector<Step> worklist_;
  Cancelled cancelled_;
};

bool ContextNode::Cancel(std::shared_ptr<const Cause> cause) {
  CancelWalk walk;
  const bool first = walk.Run(*this, std::move(cause));
  Schedule(walk.cancelled().wake);
  // The inner scopes' before the outer ones', the last that came first, as destructors run.
  auto& callbacks = walk.cancelled().callbacks;
  for (auto each = callbacks.rbegin(); each != callbacks.rend(); ++each) (*each)->Run();
  return first;
}

bool ContextNode::AddHook(CancelHook& hook) {
  if (root_) return true;
  MutexLock lock(mutex_);
  if (cancelled()) return false;
  hooks_.PushBack(&hook);
  return true;
}

void ContextNode::RemoveHook(CancelHook& hook) {
  if (root_) return;
  MutexLock lock(mutex_);
  hook.Unlink();
}

const void* ContextNode::FindValue(const void* key) const {
  const ContextValue* each = values_;
  while (each != nullptr && each->key != key) each = each->outer;
  return each == nullptr ? nullptr : each->value.get();
}

void ContextNode::AddValue(const void* key, std::shared_ptr<const void> value) {
  const ContextValue* outer = PLANTED(outer_value_lost) ? nullptr : values_;
  own_value_ = std::make_unique<const ContextValue>(key, std::move(value), outer);
  values_ = own_value_.get();
}

void ContextNode::OnExpire(Expired& expired) {
  if (TryRef()) expired.contexts.push_back(this);
}

std::shared_ptr<const Cause> ContextNode::DeadlineCause() {
  auto cause = NewCause(
      CauseKind::kDeadline,
      Error(absl::StatusCode::kDeadlineExceeded,
            label_.empty() ? "deadline exceeded"
                           : std::string("deadline of ").append(label_).append(" exceeded")),
      std::source_location::current());
  cause->actor = label_;
  cause->time = deadline_;
  cause->scope = this;
  return cause;
}

}  // namespace internal

using internal::ContextNode;

Context Context::Background(Executor& executor) { return Context(new ContextNode(executor)); }

std::shared_ptr<const Cause> Context::cause() const { return node_->cause(); }

Context Context::WithAny(const void* key, std::shared_ptr<const void> value) const {
  Context context(new ContextNode(*node_, /*shielded=*/false, kNever, Label()));
  context.node_->AddValue(key, std::move(value));
  return context;
}

const void* Context::FindAny(const void* key) const { return node_->FindValue(key); }

Time Context::deadline() const { return node_->deadline(); }

Duration Context::remaining() const {
  return deadline() == kNever ? Duration::max() : deadline() - Now();
}

Time Context::Now() const { return node_->executor().clock().Now(); }

Executor& Context::executor() const { return node_->executor(); }

CancelScope::CancelScope(const Context& parent, Time deadline, Label label)
    : context_(new ContextNode(parent.node(), /*shielded=*/false, deadline, std::move(label))) {}

CancelScope CancelScope::Shielded(const Context& parent, Duration budget, Label label) {
  return CancelScope(new ContextNode(parent.node(), /*shielded=*/true, Later(parent.Now(), budget),
                                     std::move(label)));
}

bool CancelScope::CancelWith(std::shared_ptr<Cause> cause) const {
  NURSERY_CHECK(!cause->status.ok()) << "a cause is an error";
  cause->time = context_.executor().clock().CoarseNow();
  cause->scope = id();
  return context_.node().Cancel(std::move(cause));
}

bool CancelScope::Cancel(Cause cause) const {
  return CancelWith(internal::NewCause(std::move(cause)));
}

bool CancelScope::Cancel(std::string_view reason, std::source_location site) const {
  return CancelWith(
      internal::NewCause(CauseKind::kExplicit, Error(absl::StatusCode::kCancelled, reason), site));
}

}  // namespace nursery
