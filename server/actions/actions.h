// Actions: runs attempts of every kind of action that this version has.
//
// Thread safety: any thread. Lifetime: outlives the jobs.
#ifndef NURSERY_SERVER_ACTIONS_ACTIONS_H_
#define NURSERY_SERVER_ACTIONS_ACTIONS_H_

#include "server/actions/functions.h"
#include "server/engine/action.h"

namespace nursery::actions {

// Runs exec; see exec.h.
class ExecRunner {
 public:
  virtual ~ExecRunner() = default;
  virtual Async<engine::ActionResult> Run(Context context, const spec::Exec& exec,
                                          const engine::AttemptRequest& request) = 0;
};

class Actions final : public engine::ActionRunner {
 public:
  // `exec` may be null where no job has one.
  Actions(const FunctionRegistry& functions, ExecRunner* exec)
      : functions_(functions), exec_(exec) {}

  Async<engine::ActionResult> Run(Context context, const engine::AttemptRequest& request) override;

 private:
  Async<engine::ActionResult> RunSleep(Context context, const spec::Sleep& sleep,
                                       const engine::AttemptRequest& request);
  Async<engine::ActionResult> RunCall(Context context, const spec::Call& call,
                                      const engine::AttemptRequest& request);

  const FunctionRegistry& functions_;
  ExecRunner* const exec_;
};

}  // namespace nursery::actions

#endif  // NURSERY_SERVER_ACTIONS_ACTIONS_H_
