#include "nursery/core/internal/after_func.h"

#include "nursery/core/context.h"
#include "nursery/core/internal/planted.h"

namespace nursery {
namespace internal {

void AfterFuncHook::OnCancel(Cancelled& cancelled) {
  if (!PLANTED(after_func_lost)) cancelled.callbacks.push_back(shared_from_this());
}

void AfterFuncHook::Run() {
  {
    MutexLock lock(mutex_);
    if (state_ != State::kArmed && !PLANTED(after_func_runs_though_stopped)) return;
    state_ = State::kRunning;
    runner_ = std::this_thread::get_id();
  }
  if (function_ != nullptr) std::move(function_)();
  // What it refers to may go as soon as the callback's owner knows.
  function_ = nullptr;
  MutexLock lock(mutex_);
  state_ = State::kDone;
  done_.NotifyAll();
}

bool AfterFuncHook::Prevent() {
  CancelFunction unused;
  MutexLock lock(mutex_);
  if (state_ == State::kArmed) {
    state_ = State::kDone;
    if (!PLANTED(after_func_runs_though_stopped)) unused = std::move(function_);
    return true;
  }
  while (state_ == State::kRunning && runner_ != std::this_thread::get_id()) done_.Wait(mutex_);
  return false;
}

}  // namespace internal

CancelCallback Context::AfterFunc(internal::CancelFunction function) const {
  auto hook = std::make_shared<internal::AfterFuncHook>(std::move(function));
  if (!node_->AddHook(*hook)) hook->Run();
  return CancelCallback(*this, std::move(hook));
}

CancelCallback::CancelCallback(Context context, std::shared_ptr<internal::AfterFuncHook> hook)
    : context_(std::move(context)), hook_(std::move(hook)) {}

CancelCallback::~CancelCallback() { Stop(); }

bool CancelCallback::Stop() {
  const std::shared_ptr<internal::AfterFuncHook> hook = std::exchange(hook_, nullptr);
  if (hook == nullptr) return false;
  context_.node().RemoveHook(*hook);
  return hook->Prevent();
}

}  // namespace nursery
