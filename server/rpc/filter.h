// Filter: which jobs a request means, as in
//   state = FAILED AND labels.team = "x" AND create_time > "2026-11-24T06:00:00Z"
//
// A subset of AIP-160: comparisons joined by AND. Fields are state, display_name, submitter,
// priority, create_time, end_time and labels.NAME. Names, submitters and labels know = and !=,
// where a value that ends in * fits all that begin so; the others know < <= > >= too.
//
// Thread safety: immutable; may be shared.
//
//   absl::StatusOr<Filter> filter = Filter::Parse(request.filter());
//   if (filter->Fits(job)) ...
#ifndef NURSERY_SERVER_RPC_FILTER_H_
#define NURSERY_SERVER_RPC_FILTER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/v1/resources.pb.h"

namespace nursery::rpc {

class Filter {
 public:
  // Fits everything.
  Filter() = default;
  // INVALID_ARGUMENT: what is wrong, and at which column.
  static absl::StatusOr<Filter> Parse(std::string_view text);

  bool Fits(const v1::Job& job) const;
  bool empty() const { return terms_.empty(); }

 private:
  enum class Operator { kEqual, kUnequal, kLess, kLessOrEqual, kGreater, kGreaterOrEqual };
  struct Term {
    std::string field;
    Operator op = Operator::kEqual;
    std::string value;
    int64_t number = 0;  // of a state, a priority, or a time in nanoseconds
  };
  class Parser;

  static bool Compare(int64_t left, Operator op, int64_t right);
  static bool FitsText(const std::string& text, const Term& term);

  std::vector<Term> terms_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_FILTER_H_
