// Context: what every waiting function takes first. It carries cancellation with its cause, and the
// deadline, down the tree of scopes, as Go's context does; and the executor that tasks run on.
//
// A child's deadline is the earlier of its own and its parent's. Cancelling a scope reaches every
// scope below exactly once; a finished scope leaves nothing behind in a long-lived parent.
//
// It also carries values of the request that it belongs to: typed, immutable, found in a time that
// grows with their number only. Shielded scopes keep them.
//
// Thread safety: any thread. Lifetime: a Context is a counted reference and may be copied freely.
//
//   CancelScope scope(ctx, Later(ctx.Now(), std::chrono::seconds(1)), "lookup");
//   absl::Status slept = co_await Sleep(scope.context(), std::chrono::hours(1));
//   // slept: DEADLINE_EXCEEDED: deadline of lookup exceeded
//
//   const ContextKey<std::string> kTenant;                         // at namespace scope
//   Context of_ann = ctx.With(kTenant, std::string("ann"));
//   const std::string* tenant = of_ann.Value(kTenant);
#ifndef NURSERY_CORE_CONTEXT_H_
#define NURSERY_CORE_CONTEXT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "nursery/core/cause.h"
#include "nursery/core/clock.h"
#include "nursery/core/label.h"

namespace nursery {

class CancelCallback;
class Executor;

namespace internal {
class AfterFuncHook;
class ContextNode;
class AwaitedContext;
template <class Function, class... Args>
class TaskFrame;
using CancelFunction = absl::AnyInvocable<void() && noexcept>;
}  // namespace internal

// Says which value of a Context is meant; its address is its identity.
template <class T>
class ContextKey {
 public:
  constexpr ContextKey() {}
  ContextKey(const ContextKey&) = delete;
  ContextKey& operator=(const ContextKey&) = delete;
};

class Context {
 public:
  // The root: never cancelled, no deadline. Only for main, tests and composition roots; everything
  // else takes its context from its caller.
  static Context Background(Executor& executor);

  Context(const Context& other);
  Context(Context&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Context& operator=(Context other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Context();

  bool cancelled() const;
  // OK, or the cause's status: CANCELLED, DEADLINE_EXCEEDED, or what the canceller gave.
  absl::Status status() const;
  // Null while not cancelled.
  std::shared_ptr<const Cause> cause() const;

  // kNever when there is none.
  Time deadline() const;
  // Until the deadline, negative when it has passed; Duration::max() when there is none.
  Duration remaining() const;
  // The executor's clock, which tests may drive.
  Time Now() const;
  Executor& executor() const;

  // A child context in which `key` has `value`; the outer one stays as it is.
  template <class T>
  Context With(const ContextKey<T>& key, T value) const {
    return WithAny(&key, std::make_shared<const T>(std::move(value)));
  }
  // The innermost value of `key`, valid as long as the Context; null when there is none.
  template <class T>
  const T* Value(const ContextKey<T>& key) const& {
    return static_cast<const T*>(FindAny(&key));
  }
  template <class T>
  const T* Value(const ContextKey<T>& key) const&& = delete;  // it would die with the Context

  // Calls `function` once when this context is cancelled, at once if it is already: to pass a
  // cancellation on to what knows no Context. It runs where the cancellation does, after the tasks
  // were woken, so it must be short and must not block. It is no task, since a group may be closed,
  // cancelled or full at just that moment; what takes long or waits is a task that awaits
  // UntilCancelled.
  CancelCallback AfterFunc(internal::CancelFunction function) const;

  internal::ContextNode& node() const { return *node_; }

 private:
  friend class CancelScope;
  friend class internal::AwaitedContext;
  template <class Function, class... Args>
  friend class internal::TaskFrame;
  explicit Context(internal::ContextNode* node) : node_(node) {}
  static Context Of(internal::ContextNode& node);
  // Of no node: to be assigned to.
  static Context Of(std::nullptr_t) {
    return Context(static_cast<internal::ContextNode*>(nullptr));
  }
  Context WithAny(const void* key, std::shared_ptr<const void> value) const;
  const void* FindAny(const void* key) const;

  internal::ContextNode* node_;
};

namespace internal {

// What an awaitable takes its context as. One that the caller keeps is only referred to, which
// costs nothing: it stays until the await is over, being in the same expression, or in the same
// frame. A temporary is taken over.
class AwaitedContext {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): stands for a Context
  AwaitedContext(const Context& context) : bits_(Bits(context.node_)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): stands for a Context
  AwaitedContext(Context&& context) : bits_(Bits(std::exchange(context.node_, nullptr)) | kOwned) {}
  AwaitedContext(AwaitedContext&& other) noexcept
      : bits_(std::exchange(other.bits_, other.bits_ & ~kOwned)) {}
  AwaitedContext& operator=(AwaitedContext&&) = delete;
  ~AwaitedContext() {
    if ((bits_ & kOwned) != 0) const Context last(&node());
  }

  // NOLINTNEXTLINE(performance-no-int-to-ptr): the pointer that it was made of
  ContextNode& node() const { return *reinterpret_cast<ContextNode*>(bits_ & ~kOwned); }
  absl::Status status() const;
  Executor& executor() const;

 private:
  static constexpr uintptr_t kOwned = 1;
  static uintptr_t Bits(ContextNode* node) { return reinterpret_cast<uintptr_t>(node); }

  uintptr_t bits_;  // the node's address, and kOwned
};

}  // namespace internal

// Keeps a function of Context::AfterFunc registered. When it dies, the function is not running and
// never will: what it refers to may go. Whoever stops it holds no lock that the function takes.
class [[nodiscard]] CancelCallback {
 public:
  CancelCallback(CancelCallback&& other) noexcept = default;
  CancelCallback& operator=(CancelCallback&&) = delete;
  ~CancelCallback();

  // Whether this call has prevented the function. Waits while another thread runs it.
  bool Stop();

 private:
  friend class Context;
  CancelCallback(Context context, std::shared_ptr<internal::AfterFuncHook> hook);

  Context context_;
  std::shared_ptr<internal::AfterFuncHook> hook_;
};

// A child context that can be cancelled. It cancels nothing by itself when it goes out of scope: by
// then what ran under it has ended.
class CancelScope {
 public:
  explicit CancelScope(const Context& parent) : CancelScope(parent, kNever, "") {}
  // `label` names the scope in the error when its own deadline passes.
  CancelScope(const Context& parent, Time deadline, Label label);
  // A scope that the parent's cancellation and deadline do not reach, for clean-up; it ends at
  // `budget` from now.
  static CancelScope Shielded(const Context& parent, Duration budget, Label label);

  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  const Context& context() const { return context_; }
  // What Cause::scope is when the cancellation started here.
  const void* id() const { return &context_.node(); }

  // Cancels all below. The first cause wins: false when there was one already.
  bool Cancel(Cause cause) const;
  // Cancels with kExplicit and CANCELLED: `reason`.
  bool Cancel(std::string_view reason,
              std::source_location site = std::source_location::current()) const;

 private:
  explicit CancelScope(internal::ContextNode* node) : context_(node) {}
  bool CancelWith(std::shared_ptr<Cause> cause) const;

  Context context_;
};

}  // namespace nursery

#include "nursery/core/internal/context_inl.h"

#endif  // NURSERY_CORE_CONTEXT_H_
