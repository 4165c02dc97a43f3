#include "server/actions/actions.h"

#include "nursery/core/internal/task_frame.h"
#include "nursery/core/sleep.h"
#include "nursery/core/status.h"
#include "server/engine/limits.h"
#include "server/spec/scalar.h"

namespace nursery::actions {

using engine::ActionResult;

Async<ActionResult> Actions::Run(Context context, const engine::AttemptRequest& request) {
  if (const auto* sleep = std::get_if<spec::Sleep>(&request.action)) {
    co_return co_await RunSleep(context, *sleep, request);
  }
  if (const auto* call = std::get_if<spec::Call>(&request.action)) {
    co_return co_await RunCall(context, *call, request);
  }
  const auto& exec = std::get<spec::Exec>(request.action);
  NURSERY_CHECK(exec_ != nullptr) << "this server runs no processes";
  co_return co_await exec_->Run(context, exec, request);
}

namespace {

absl::StatusOr<Duration> DurationOf(const spec::Sleep& sleep, const spec::Scope& scope) {
  if (!sleep.expression) return sleep.duration;
  absl::StatusOr<std::string> text = sleep.expression->Expand(scope);
  if (!text.ok()) return text.status();
  return spec::ParseDuration(*text);
}

}  // namespace

Async<ActionResult> Actions::RunSleep(Context context, const spec::Sleep& sleep,
                                      const engine::AttemptRequest& request) {
  ActionResult result;
  absl::StatusOr<Duration> duration = DurationOf(sleep, *request.scope);
  if (!duration.ok()) {
    result.status = Annotate(duration.status(), "sleep");
    co_return result;
  }
  result.status = co_await Sleep(context, *duration);
  co_return result;
}

Async<ActionResult> Actions::RunCall(Context context, const spec::Call& call,
                                     const engine::AttemptRequest& request) {
  ActionResult result;
  const Function* function = functions_.Find(call.function);
  if (function == nullptr) {
    result.status = Error(absl::StatusCode::kNotFound,
                          "no function '" + call.function + "' is registered in this server");
    co_return result;
  }
  absl::StatusOr<std::string> argument = call.argument.Expand(*request.scope);
  if (!argument.ok()) {
    result.status = Annotate(argument.status(), "argument");
    co_return result;
  }
  absl::StatusOr<std::string> output = Error(absl::StatusCode::kInternal, "no result");
  try {
    output = co_await (*function)(context, *argument);
  } catch (...) {
    output = internal::StatusOfException(std::current_exception());
  }
  result.status = output.status();
  if (output.ok()) {
    auto kept = std::make_shared<engine::Output>(request.keep_whole_output, engine::kOutputSpool);
    kept->Append(*output);
    result.output = std::move(kept);
  }
  co_return result;
}

}  // namespace nursery::actions
