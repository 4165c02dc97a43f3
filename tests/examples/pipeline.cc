// A stream through different steps: generate, square, filter. Who is slow holds up those before it;
// the first error stops all.
#include "nursery/core/pipeline.h"

#include <iostream>
#include <optional>
#include <vector>

#include "nursery/core/executor.h"

namespace {

using nursery::Async;
using nursery::Context;
using nursery::Pipeline;
using nursery::StageOptions;

Async<absl::Status> Generate(Context ctx, nursery::Sender<int> out, int end) {
  for (int number = 1; number <= end; ++number) {
    absl::Status sent = co_await out.Send(ctx, number);
    if (!sent.ok()) co_return sent;
  }
  co_return absl::OkStatus();
}

Async<absl::StatusOr<int>> Square(Context, int number) {
  const int square = number * number;
  co_return square;
}

// A stage that gives nothing drops the element.
Async<absl::StatusOr<std::optional<int>>> KeepOdd(Context, int number) {
  if (number % 2 == 0) co_return std::nullopt;
  co_return number;
}

Async<absl::Status> PrintOddSquares(Context ctx) {
  // Four workers, whose squares leave in the order of the numbers; eight may wait behind them.
  auto plan = Pipeline<int>::From("generate", Generate, 9)
                  .Then("square", StageOptions(4, 8), Square)
                  .Then("odd", StageOptions(), KeepOdd);
  absl::StatusOr<std::vector<int>> squares = co_await std::move(plan).Collect(ctx);
  if (!squares.ok()) co_return squares.status();
  for (int square : *squares) std::cout << square << '\n';
  co_return absl::OkStatus();
}

}  // namespace

int main() {
  nursery::ThreadExecutor executor;
  return executor.Run("main", PrintOddSquares).ok() ? 0 : 1;
}
