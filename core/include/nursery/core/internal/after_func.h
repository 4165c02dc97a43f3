// AfterFuncHook: a function that a context calls when it is cancelled, shared by its CancelCallback
// and by whoever cancels.
//
// Thread safety: any thread.
#ifndef NURSERY_CORE_INTERNAL_AFTER_FUNC_H_
#define NURSERY_CORE_INTERNAL_AFTER_FUNC_H_

#include <memory>
#include <thread>

#include "nursery/core/context.h"
#include "nursery/core/internal/context_node.h"
#include "nursery/core/mutex.h"

namespace nursery::internal {

class AfterFuncHook final : public CancelHook, public std::enable_shared_from_this<AfterFuncHook> {
 public:
  explicit AfterFuncHook(CancelFunction function) : function_(std::move(function)) {}

  void OnCancel(Cancelled& cancelled) override;

  // Calls the function, unless that was done or prevented before.
  void Run() NURSERY_EXCLUDES(mutex_);
  // Whether this call has made sure that the function never runs. When it returns, the function
  // does not run, but for the caller that is the function itself.
  bool Prevent() NURSERY_EXCLUDES(mutex_);

 private:
  enum class State : uint8_t { kArmed, kRunning, kDone };

  // Owned by whoever moved the state away from kArmed.
  CancelFunction function_;

  Mutex mutex_;
  CondVar done_;
  State state_ NURSERY_GUARDED_BY(mutex_) = State::kArmed;
  std::thread::id runner_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_AFTER_FUNC_H_
