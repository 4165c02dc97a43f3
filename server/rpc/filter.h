// Filter: which jobs, or which nodes of a job, a request means, as in
//   state = FAILED AND labels.team = "x" AND create_time > "2026-11-24T06:00:00Z"
//
// A subset of AIP-160: comparisons joined by AND. Fields of a job are state, outcome, display_name,
// submitter, priority, create_time, start_time, end_time and labels.NAME; those of a node state,
// outcome, kind, path, attempt_count, start_time and end_time. Texts know = and !=, where a value
// that ends in * fits all that begin so, and so do names of a list (states, kinds); the others know
// < <= > >= too. A time that has not come fits nothing.
//
// Thread safety: immutable; may be shared.
//
//   absl::StatusOr<Filter> filter = Filter::Parse(request.filter(), Filter::Of::kJobs);
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
  enum class Of { kJobs, kNodes };

  // Fits everything.
  Filter() = default;
  // INVALID_ARGUMENT: what is wrong, and at which column.
  static absl::StatusOr<Filter> Parse(std::string_view text, Of of);

  bool Fits(const v1::Job& job) const;
  bool Fits(const v1::Node& node) const;
  bool empty() const { return terms_.empty(); }

 private:
  enum class Operator { kEqual, kUnequal, kLess, kLessOrEqual, kGreater, kGreaterOrEqual };
  struct Term {
    std::string field;
    Operator op = Operator::kEqual;
    std::string value;
    int64_t number = 0;  // of what is no text; times in nanoseconds
  };
  class Parser;

  static bool Compare(int64_t left, Operator op, int64_t right);
  static bool FitsText(const std::string& text, const Term& term);

  std::vector<Term> terms_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_FILTER_H_
