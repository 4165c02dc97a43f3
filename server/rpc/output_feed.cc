#include "server/rpc/output_feed.h"

#include <algorithm>
#include <utility>

namespace nursery::rpc {
namespace {

constexpr size_t kChunkBytes = 256 << 10;

}  // namespace

OutputFeed::OutputFeed(std::shared_ptr<engine::Job> job, std::string path, bool wants_output,
                       bool wants_errors, bool follow)
    : job_(std::move(job)),
      path_(std::move(path)),
      wants_output_(wants_output),
      wants_errors_(wants_errors),
      follow_(follow),
      bell_(job_->Watch()) {}

void OutputFeed::Follow(v1::OutputStream stream, std::shared_ptr<const engine::Output> from) {
  const int64_t at = tail_ ? std::max<int64_t>(from->total() - *tail_, 0) : offset_;
  Cursor cursor{stream, from, from->Watch(), at};
  cursors_.push_back(std::move(cursor));
}

bool OutputFeed::NodeEnded() const {
  if (job_->done()) return true;
  const std::optional<engine::NodeState> state = job_->StateOf(path_);
  // An item that has succeeded is no node any more.
  return state ? engine::IsTerminal(*state) : started();
}

bool OutputFeed::NextAttempt() {
  const std::optional<engine::OutputView> view = job_->OutputOf(path_);
  if (!view || view->attempt == attempt_) return false;
  cursors_.clear();
  if (wants_output_) Follow(v1::OUTPUT_STREAM_STDOUT, view->output);
  const bool has_errors = view->errors != nullptr && view->errors != view->output;
  if (wants_errors_ && has_errors) Follow(v1::OUTPUT_STREAM_STDERR, view->errors);
  attempt_ = view->attempt;
  // What was asked for is a place in the first one.
  offset_ = 0;
  tail_.reset();
  return true;
}

bool OutputFeed::TakeFrom(Cursor& cursor, v1::ReadOutputResponse* response) const {
  engine::OutputPiece piece = cursor.from->Read(cursor.at, kChunkBytes);
  if (piece.data.empty()) return false;
  v1::OutputChunk& chunk = *response->add_chunks();
  chunk.set_path(path_);
  chunk.set_attempt(attempt_);
  chunk.set_stream(cursor.stream);
  chunk.set_offset(piece.offset);
  chunk.set_gap(piece.offset - cursor.at);
  cursor.at = piece.end();
  chunk.set_data(std::move(piece.data));
  return true;
}

bool OutputFeed::Take(v1::ReadOutputResponse* response) {
  bool some = false;
  // Asked first: what it wrote before its end is read below.
  const bool last = !follow_ || NodeEnded();
  do {
    for (Cursor& cursor : cursors_) some |= TakeFrom(cursor, response);
    // An attempt is read to its end before the next one begins.
  } while (!some && NextAttempt());
  ended_ = last && !some;
  return some;
}

Async<void> OutputFeed::Wait(Context context, Duration patience) {
  const CancelScope bounded(context, Later(context.Now(), patience), "heartbeat");
  ReceiveCase<engine::Tick> event(bell_);
  if (cursors_.empty()) {
    absl::StatusOr<size_t> ready = co_await Select(bounded.context(), event);
    static_cast<void>(ready);
    co_return;
  }
  ReceiveCase<engine::Tick> first(cursors_.front().bell);
  ReceiveCase<engine::Tick> last(cursors_.back().bell);
  absl::StatusOr<size_t> ready = co_await Select(bounded.context(), event, first, last);
  static_cast<void>(ready);
}

}  // namespace nursery::rpc
