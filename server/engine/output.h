// Output: what an attempt wrote to one stream: its beginning and its end, and for output that
// siblings consume also the whole, up to a cap, in an unlinked file.
//
// Thread safety: none while it is written; any thread once it is shared as const.
//
//   Output output(/*keep_whole=*/true, kOutputSpool);
//   output.Append(chunk);
//   absl::StatusOr<std::string> text = output.Text();   // an error when something is missing
#ifndef NURSERY_SERVER_ENGINE_OUTPUT_H_
#define NURSERY_SERVER_ENGINE_OUTPUT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace nursery::engine {

class Output {
 public:
  // `cap`: what is longer cannot be read whole.
  Output(bool keep_whole, int64_t cap) : keep_whole_(keep_whole), cap_(cap) {}
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Never fails: what cannot be kept is counted.
  void Append(std::string_view data);

  int64_t total() const { return total_; }
  // Beginning and end with a line between them that says how much is missing.
  std::string Excerpt() const;
  // The last `lines` lines that are kept, without a final newline.
  std::string LastLines(size_t lines) const;

  // Less is kept than was written.
  bool truncated() const { return total_ > cap_ || !(whole_in_memory() || spooled()); }

  // FAILED_PRECONDITION when it is truncated.
  absl::StatusOr<std::string> Whole() const;
  // The whole as text for ${{ output.N }}: without trailing newlines. FAILED_PRECONDITION when it
  // is truncated, longer than kOutputInText, or no UTF-8 text.
  absl::StatusOr<std::string> Text() const;
  // A descriptor that reads the whole from its start; the caller closes it. FAILED_PRECONDITION
  // when it is truncated.
  absl::StatusOr<int> Open() const;

 private:
  bool whole_in_memory() const {
    return total_ == static_cast<int64_t>(head_.size() + tail_.size());
  }
  void Spool(std::string_view data);
  bool spooled() const { return spool_ >= 0 && spool_complete_; }
  absl::Status Missing() const;

  const bool keep_whole_;
  const int64_t cap_;
  int64_t total_ = 0;
  std::string head_;
  std::string tail_;  // up to twice its bound between trims
  int spool_ = -1;
  bool spool_complete_ = true;
  int spool_errno_ = 0;  // why it is not, when it is not over the cap
};

// A descriptor that reads `text`; the caller closes it.
absl::StatusOr<int> OpenText(std::string_view text);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_OUTPUT_H_
