#include "server/engine/output_tap.h"

#include <algorithm>
#include <utility>

#include "server/engine/limits.h"
#include "server/engine/node.h"

namespace nursery::engine {
namespace {

// Of one stream at a time, so that one that writes much does not keep others waiting.
constexpr size_t kTurnBytes = 64 << 10;

int64_t Unread(const std::shared_ptr<const Output>& from, int64_t at) {
  return from == nullptr ? 0 : from->total() - at;
}

}  // namespace

void OutputTap::Add(const Node& node, bool ended) {
  if (closed_ || node.activity().output == nullptr) return;
  if (tapped_.size() >= kMaxTapped) MakeRoom();
  Tapped& tapped = tapped_.emplace_back();
  tapped.path = node.Path();
  tapped.attempt = node.activity().output_attempt;
  tapped.ended = ended;
  tapped.output.from = node.activity().output;
  if (node.activity().errors != node.activity().output) tapped.errors.from = node.activity().errors;
}

// Those that run are as many as there are slots: only what has ended is left out.
void OutputTap::MakeRoom() {
  const auto oldest = std::find_if(tapped_.begin(), tapped_.end(),
                                   [](const Tapped& tapped) { return tapped.ended; });
  if (oldest == tapped_.end()) return;
  left_out_ += Unread(oldest->output.from, oldest->output.at);
  left_out_ += Unread(oldest->errors.from, oldest->errors.at);
  tapped_.erase(oldest);
}

void OutputTap::OnStarted(const Node& node) {
  if (of_ != Of::kAll) return;
  MutexLock lock(mutex_);
  Add(node, /*ended=*/false);
  if (node.activity().output != nullptr) node.activity().output->Watch(bell_);
  if (node.activity().errors != nullptr && node.activity().errors != node.activity().output)
    node.activity().errors->Watch(bell_);
}

void OutputTap::OnEnded(const Node& node, v1::AttemptState state) {
  const bool failed = state == v1::ATTEMPT_STATE_FAILED || state == v1::ATTEMPT_STATE_TIMED_OUT;
  if (of_ == Of::kFailed && !failed) return;
  {
    MutexLock lock(mutex_);
    const auto running = std::find_if(tapped_.begin(), tapped_.end(), [&](const Tapped& tapped) {
      return tapped.output.from == node.activity().output && !tapped.ended;
    });
    // What a function gives it gives at its end.
    if (running == tapped_.end()) Add(node, /*ended=*/true);
    if (running != tapped_.end()) running->ended = true;
  }
  // Full is as good as rung.
  bell_.TrySend(Tick()).IgnoreError();
}

void OutputTap::Read(const Tapped& of, Stream& stream, bool is_errors, size_t limit,
                     std::vector<TappedPiece>* pieces) {
  if (stream.from == nullptr) return;
  OutputPiece piece = stream.from->Read(stream.at, limit);
  if (piece.data.empty()) return;
  TappedPiece& next = pieces->emplace_back();
  next.path = of.path;
  next.attempt = of.attempt;
  next.is_errors = is_errors;
  next.gap = piece.offset - stream.at;
  stream.at = piece.end();
  next.piece = std::move(piece);
}

std::vector<TappedPiece> OutputTap::Take(size_t limit) {
  std::vector<TappedPiece> pieces;
  MutexLock lock(mutex_);
  if (left_out_ > 0) pieces.emplace_back().gap = std::exchange(left_out_, 0);
  size_t turns = tapped_.size();
  for (size_t read = 0; turns > 0 && read < limit; --turns) {
    const auto turn = tapped_.begin();
    const size_t before = pieces.size();
    Read(*turn, turn->output, /*is_errors=*/false, kTurnBytes, &pieces);
    Read(*turn, turn->errors, /*is_errors=*/true, kTurnBytes, &pieces);
    for (size_t i = before; i < pieces.size(); ++i) read += pieces[i].piece.data.size();
    if (turn->ended && pieces.size() == before) {
      tapped_.erase(turn);
    } else {
      tapped_.splice(tapped_.end(), tapped_, turn);
    }
  }
  return pieces;
}

void OutputTap::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  tapped_.clear();
}

}  // namespace nursery::engine
