// The same for each of many, and the results together: three workers square five numbers, and the
// squares come back in the order of the numbers.
#include <iostream>
#include <vector>

#include "nursery/core/executor.h"
#include "nursery/core/parallel_map.h"
#include "nursery/core/sleep.h"

namespace {

using nursery::Async;
using nursery::Context;

Async<absl::StatusOr<int>> Square(Context ctx, int number) {
  co_await nursery::Yield();  // here, what takes long
  if (ctx.cancelled()) co_return ctx.status();
  const int square = number * number;
  co_return square;
}

Async<absl::Status> PrintSquares(Context ctx) {
  std::vector<int> numbers = {1, 2, 3, 4, 5};
  absl::StatusOr<std::vector<int>> squares = co_await nursery::ParallelMap(
      ctx, "square", nursery::StageOptions(3), std::move(numbers), Square);
  if (!squares.ok()) co_return squares.status();
  int sum = 0;
  for (int square : *squares) {
    std::cout << square << '\n';
    sum += square;
  }
  std::cout << "sum " << sum << '\n';
  co_return absl::OkStatus();
}

}  // namespace

int main() {
  nursery::ThreadExecutor executor;
  return executor.Run("main", PrintSquares).ok() ? 0 : 1;
}
