#include "server/actions/functions.h"

#include "nursery/core/sleep.h"
#include "nursery/core/status.h"

namespace nursery::actions {
namespace {

Async<absl::StatusOr<std::string>> Noop(Context, std::string) { co_return std::string(); }

Async<absl::StatusOr<std::string>> Fail(Context, std::string argument) {
  co_return Error(absl::StatusCode::kUnknown, argument.empty() ? "fail was called" : argument);
}

Async<absl::StatusOr<std::string>> Block(Context context, std::string) {
  absl::Status cancelled = co_await UntilCancelled(context);
  co_return cancelled;
}

}  // namespace

FunctionRegistry::FunctionRegistry()
    : functions_{{"block", Block}, {"fail", Fail}, {"noop", Noop}} {}

absl::Status FunctionRegistry::Register(std::string name, Function function) {
  if (functions_.try_emplace(name, std::move(function)).second) return absl::OkStatus();
  return Error(absl::StatusCode::kAlreadyExists, "a function '" + name + "' is registered already");
}

const Function* FunctionRegistry::Find(const std::string& name) const {
  const auto found = functions_.find(name);
  return found == functions_.end() ? nullptr : &found->second;
}

std::vector<std::string> FunctionRegistry::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, function] : functions_) names.push_back(name);
  return names;
}

}  // namespace nursery::actions
