// What every await does with a Context.
#ifndef NURSERY_CORE_INTERNAL_CONTEXT_INL_H_
#define NURSERY_CORE_INTERNAL_CONTEXT_INL_H_

#include "nursery/core/context.h"
#include "nursery/core/internal/context_node.h"

namespace nursery {

inline Context::Context(const Context& other) : node_(other.node_) { node_->Ref(); }

inline Context Context::Of(internal::ContextNode& node) {
  node.Ref();
  return Context(&node);
}

inline Context::~Context() {
  if (node_ != nullptr) node_->Unref();
}

inline bool Context::cancelled() const { return node_->cancelled(); }

inline absl::Status Context::status() const {
  return node_->cancelled() ? node_->cause()->status : absl::OkStatus();
}

namespace internal {

inline absl::Status AwaitedContext::status() const {
  return node().cancelled() ? node().cause()->status : absl::OkStatus();
}

inline Executor& AwaitedContext::executor() const { return node().executor(); }

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_CONTEXT_INL_H_
