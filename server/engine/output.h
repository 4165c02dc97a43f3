// Output: what an attempt wrote to one stream: its beginning and its end, and for output that
// siblings consume also the whole, up to a cap, in an unlinked file.
//
// Thread safety: one thread appends; any thread reads, also meanwhile.
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
#include "nursery/core/mutex.h"
#include "server/engine/bell.h"

namespace nursery::engine {

// What is there of a stream from some offset on.
struct OutputPiece {
  OutputPiece() = default;

  int64_t offset = 0;  // of the first byte; later than asked for where something is missing
  std::string data;    // empty: no more has been written

  int64_t end() const { return offset + static_cast<int64_t>(data.size()); }
};

class Output {
 public:
  // `cap`: what is longer cannot be read whole.
  Output(bool keep_whole, int64_t cap) : keep_whole_(keep_whole), cap_(cap) {}
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Never fails: what cannot be kept is counted.
  void Append(std::string_view data) NURSERY_EXCLUDES(mutex_);
  // Rings when something was appended.
  BellReceiver Watch() const { return bells_.Watch(); }
  void Watch(BellSender bell) const { bells_.Add(std::move(bell)); }

  int64_t total() const NURSERY_EXCLUDES(mutex_);
  // At most `limit` of the bytes that are kept, from `offset` on.
  OutputPiece Read(int64_t offset, size_t limit) const NURSERY_EXCLUDES(mutex_);
  // Beginning and end with a line between them that says how much is missing.
  std::string Excerpt() const NURSERY_EXCLUDES(mutex_);
  // Where the last `lines` lines that are kept begin.
  int64_t StartOfLines(size_t lines) const NURSERY_EXCLUDES(mutex_);
  // The last `lines` lines that are kept, without a final newline.
  std::string LastLines(size_t lines) const NURSERY_EXCLUDES(mutex_);

  // Nobody will ask for the whole any more: what is kept of it in a file goes.
  void DropWhole() const NURSERY_EXCLUDES(mutex_);
  // What it takes of memory, in bytes.
  size_t size() const NURSERY_EXCLUDES(mutex_);

  // Less is kept than was written.
  bool truncated() const NURSERY_EXCLUDES(mutex_);

  // FAILED_PRECONDITION when it is truncated.
  absl::StatusOr<std::string> Whole() const NURSERY_EXCLUDES(mutex_);
  // The whole as text for ${{ output.N }}: without trailing newlines. FAILED_PRECONDITION when it
  // is truncated, longer than kOutputInText, or no UTF-8 text.
  absl::StatusOr<std::string> Text() const NURSERY_EXCLUDES(mutex_);
  // A descriptor that reads the whole from its start; the caller closes it. FAILED_PRECONDITION
  // when it is truncated.
  absl::StatusOr<int> Open() const NURSERY_EXCLUDES(mutex_);

 private:
  bool whole_in_memory() const NURSERY_REQUIRES(mutex_) {
    return total_ == static_cast<int64_t>(head_.size() + tail_.size());
  }
  void Spool(std::string_view data) NURSERY_REQUIRES(mutex_);
  void CloseSpool() const NURSERY_REQUIRES(mutex_);
  bool spooled() const NURSERY_REQUIRES(mutex_) { return spool_ >= 0 && spool_complete_; }
  absl::Status Missing() const NURSERY_REQUIRES(mutex_);

  const bool keep_whole_;
  const int64_t cap_;
  mutable Bells bells_;
  mutable Mutex mutex_;
  int64_t total_ NURSERY_GUARDED_BY(mutex_) = 0;
  std::string head_ NURSERY_GUARDED_BY(mutex_);
  std::string tail_ NURSERY_GUARDED_BY(mutex_);  // up to twice its bound between trims
  mutable int spool_ NURSERY_GUARDED_BY(mutex_) = -1;
  bool spool_complete_ NURSERY_GUARDED_BY(mutex_) = true;
  int spool_errno_ NURSERY_GUARDED_BY(mutex_) = 0;  // why it is not, when it is not over the cap
};

// A descriptor that reads `text`; the caller closes it.
absl::StatusOr<int> OpenText(std::string_view text);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_OUTPUT_H_
