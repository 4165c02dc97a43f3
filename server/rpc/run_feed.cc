#include "server/rpc/run_feed.h"

#include <utility>

namespace nursery::rpc {
namespace {

constexpr size_t kOutputBytes = 256 << 10;

std::shared_ptr<engine::OutputTap> TapFor(v1::OutputMode mode, const engine::BellSender& bell) {
  if (mode == v1::OUTPUT_MODE_NONE) return nullptr;
  const bool all = mode == v1::OUTPUT_MODE_ALL;
  using Of = engine::OutputTap::Of;
  return std::make_shared<engine::OutputTap>(all ? Of::kAll : Of::kFailed, bell);
}

}  // namespace

RunFeed::RunFeed(const std::shared_ptr<engine::Job>& job, v1::EventDetail detail,
                 v1::OutputMode output)
    : events_(job, 0, "", detail), tap_(TapFor(output, events_.bell())) {
  if (tap_ != nullptr) job->Tap(tap_);
}

RunFeed::~RunFeed() {
  if (tap_ != nullptr) tap_->Close();
}

bool RunFeed::TakeOutput(v1::RunJobResponse* response) {
  if (tap_ == nullptr) return false;
  bool some = false;
  for (engine::TappedPiece& tapped : tap_->Take(kOutputBytes)) {
    v1::OutputChunk& chunk = *response->add_output();
    chunk.set_path(std::move(tapped.path));
    chunk.set_attempt(tapped.attempt);
    const bool of_one = tapped.attempt > 0;
    if (of_one) {
      chunk.set_stream(tapped.is_errors ? v1::OUTPUT_STREAM_STDERR : v1::OUTPUT_STREAM_STDOUT);
    }
    chunk.set_offset(tapped.piece.offset);
    chunk.set_gap(tapped.gap);
    chunk.set_data(std::move(tapped.piece.data));
    some = true;
  }
  return some;
}

bool RunFeed::Take(v1::RunJobResponse* response) {
  EventFeed::Batch batch = events_.Take();
  for (v1::Event& event : batch.events) *response->add_events() = std::move(event);
  // After the events: an ended job writes nothing more.
  const bool had_ended = events_.ended();
  const bool output = TakeOutput(response);
  read_all_ = had_ended && !output;
  return output || !batch.events.empty();
}

}  // namespace nursery::rpc
