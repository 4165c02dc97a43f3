// FunctionRegistry: what `call` can call. `noop`, `fail` and `block` are built in.
//
// Thread safety: register before jobs run; Find from any thread.
//
//   registry.Register("resize", [](Context ctx, std::string argument) -> Async<...> { ... });
#ifndef NURSERY_SERVER_ACTIONS_FUNCTIONS_H_
#define NURSERY_SERVER_ACTIONS_FUNCTIONS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/async.h"
#include "nursery/core/context.h"

namespace nursery::actions {

// Gives the output. It must return soon after its context is cancelled.
using Function =
    std::function<Async<absl::StatusOr<std::string>>(Context context, std::string argument)>;

class FunctionRegistry {
 public:
  // With the built-in ones: noop succeeds, fail fails with its argument as the message, block waits
  // until it is cancelled.
  FunctionRegistry();

  // ALREADY_EXISTS: the name is taken.
  absl::Status Register(std::string name, Function function);
  // Null: no such function.
  const Function* Find(const std::string& name) const;
  std::vector<std::string> Names() const;

 private:
  std::map<std::string, Function> functions_;
};

}  // namespace nursery::actions

#endif  // NURSERY_SERVER_ACTIONS_FUNCTIONS_H_
