#include "server/rpc/output_feed.h"

#include <algorithm>
#include <set>

#include "nursery/core/sleep.h"
#include "server/rpc/describe_node.h"

namespace nursery::rpc {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
// Between two looks at all nodes below one.
constexpr std::chrono::milliseconds kPause{100};

v1::OutputChunk& AddChunk(const std::string& path, int attempt, v1::OutputStream stream,
                          v1::ReadOutputResponse* response) {
  v1::OutputChunk& chunk = *response->add_chunks();
  chunk.set_path(path);
  chunk.set_attempt(attempt);
  chunk.set_stream(stream);
  return chunk;
}

}  // namespace

OutputFeed::OutputFeed(std::shared_ptr<engine::Job> job, WantedOutput wanted)
    : job_(std::move(job)), wanted_(std::move(wanted)), bell_(MakeChannel<engine::Tick>(1)) {
  if (wanted_.follow) job_->Watch(bell_.first);
}

bool OutputFeed::NodeEnded() const {
  if (job_->done()) return true;
  const auto reading = readings_.find(wanted_.path);
  if (wanted_.attempt > 0 && !wanted_.below && reading != readings_.end()) {
    const std::vector<engine::OutputView> views = job_->Outputs(wanted_.path, /*below=*/false);
    if (!views.empty() && views[0].attempt > wanted_.attempt) return true;
  }
  const std::optional<engine::NodeState> state = job_->StateOf(wanted_.path);
  // An item that has succeeded is no node any more.
  return state ? engine::IsTerminal(*state) : started();
}

void OutputFeed::Follow(v1::OutputStream stream, std::shared_ptr<const engine::Output> from,
                        bool is_first, Reading& reading) const {
  int64_t at = 0;
  // What was asked for is a place in the first one.
  if (is_first) {
    at = wanted_.offset;
    if (wanted_.tail_bytes) at = std::max<int64_t>(from->total() - *wanted_.tail_bytes, 0);
    if (wanted_.tail_lines) at = from->StartOfLines(static_cast<size_t>(*wanted_.tail_lines));
  }
  if (wanted_.follow) from->Watch(bell_.first);
  reading.cursors.push_back({stream, std::move(from), at, 0});
}

void OutputFeed::Start(const engine::OutputView& view, Reading& reading) {
  started_ = true;
  const bool is_first = reading.attempt == 0;
  reading.cursors.clear();
  reading.attempt = view.attempt;
  if (wanted_.output) Follow(v1::OUTPUT_STREAM_STDOUT, view.output, is_first, reading);
  const bool has_errors = view.errors != nullptr && view.errors != view.output;
  if (wanted_.errors && has_errors) {
    Follow(v1::OUTPUT_STREAM_STDERR, view.errors, is_first, reading);
  }
}

void OutputFeed::ReadLog() {
  logged_ = VisitEvents(*job_, logged_, [this](const v1::Event& event) {
    const v1::AttemptEnded& ended = event.attempt_ended();
    if (ended.attempt().number() != wanted_.attempt || readings_.contains(ended.path())) return;
    const bool wanted = wanted_.below ? engine::IsAtOrBelow(ended.path(), wanted_.path)
                                      : ended.path() == wanted_.path;
    if (wanted) StartPast(ended.path(), ended.attempt());
  });
}

void OutputFeed::StartPast(const std::string& path, const v1::Attempt& attempt) {
  started_ = true;
  Reading& reading = readings_[path];
  reading.attempt = wanted_.attempt;
  const auto start = [&](v1::OutputStream stream, const v1::OutputRef& ref) {
    auto kept = std::make_shared<engine::Output>(/*keep_whole=*/false, ref.total_bytes());
    kept->Append(ref.inline_data());
    const int64_t lost = ref.total_bytes() - kept->total();
    Follow(stream, std::move(kept), /*is_first=*/true, reading);
    reading.cursors.back().lost = lost;
  };
  if (wanted_.output) start(v1::OUTPUT_STREAM_STDOUT, attempt.stdout());
  if (wanted_.errors && attempt.has_stderr()) start(v1::OUTPUT_STREAM_STDERR, attempt.stderr());
}

bool OutputFeed::IsDrained(const Reading& reading) {
  return std::all_of(reading.cursors.begin(), reading.cursors.end(), [](const Cursor& cursor) {
    return cursor.at >= cursor.from->total() && cursor.lost == 0;
  });
}

// An attempt is read to its end before the next one begins.
void OutputFeed::NextAttempts() {
  const std::vector<engine::OutputView> views = job_->Outputs(wanted_.path, wanted_.below);
  bool past = false;
  for (const engine::OutputView& view : views) {
    const auto reading = readings_.find(view.path);
    const bool is_new = reading == readings_.end();
    if (view.attempt < wanted_.attempt) continue;
    if (wanted_.attempt > 0 && view.attempt > wanted_.attempt) {
      past |= is_new;
    } else if (is_new || (reading->second.attempt != view.attempt && IsDrained(reading->second))) {
      Start(view, readings_[view.path]);
    }
  }
  if (past) ReadLog();
  if (wanted_.below) ForgetGone(views);
}

void OutputFeed::ForgetGone(const std::vector<engine::OutputView>& there) {
  if (readings_.size() <= there.size()) return;
  std::set<std::string_view> paths;
  for (const engine::OutputView& view : there) paths.insert(view.path);
  std::erase_if(readings_, [&](const auto& reading) {
    return !paths.contains(reading.first) && IsDrained(reading.second);
  });
}

bool OutputFeed::ReadNode(const std::string& path, Reading& reading,
                          v1::ReadOutputResponse* response) const {
  bool some = false;
  for (Cursor& cursor : reading.cursors) {
    engine::OutputPiece piece = cursor.from->Read(cursor.at, kChunkBytes);
    if (piece.data.empty() && cursor.lost == 0) continue;
    some = true;
    v1::OutputChunk& chunk = AddChunk(path, reading.attempt, cursor.stream, response);
    chunk.set_gap(std::max<int64_t>(piece.offset - cursor.at, 0));
    if (piece.data.empty()) {
      chunk.set_gap(chunk.gap() + std::exchange(cursor.lost, 0));
      chunk.set_offset(cursor.at + chunk.gap());
      continue;
    }
    chunk.set_offset(piece.offset);
    cursor.at = piece.end();
    chunk.set_data(std::move(piece.data));
  }
  return some;
}

// Every node has its turn, however much another one writes.
bool OutputFeed::ReadAll(v1::ReadOutputResponse* response) {
  bool some = false;
  auto next = readings_.upper_bound(turn_);
  for (size_t left = readings_.size(); left > 0; --left, ++next) {
    if (response->ByteSizeLong() >= kChunkBytes) break;
    if (next == readings_.end()) next = readings_.begin();
    if (!ReadNode(next->first, next->second, response)) continue;
    some = true;
    turn_ = next->first;
  }
  return some;
}

bool OutputFeed::Take(v1::ReadOutputResponse* response) {
  // Asked first: what it wrote before its end is read below.
  const bool last = !wanted_.follow || NodeEnded();
  NextAttempts();
  bool some = ReadAll(response);
  if (!some) {
    // What was read to its end may have been followed by another attempt meanwhile.
    NextAttempts();
    some = ReadAll(response);
  }
  ended_ = last && !some;
  return some;
}

Async<void> OutputFeed::Wait(Context context, Duration patience) {
  const CancelScope bounded(context, Later(context.Now(), patience), "heartbeat");
  if (wanted_.below) {
    absl::Status slept = co_await Sleep(bounded.context(), kPause);
    if (!slept.ok()) co_return;
  }
  absl::StatusOr<engine::Tick> rung = co_await bell_.second.Receive(bounded.context());
  static_cast<void>(rung);
}

}  // namespace nursery::rpc
