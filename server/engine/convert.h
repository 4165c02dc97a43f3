// From the engine's words to those of the contract.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_ENGINE_CONVERT_H_
#define NURSERY_SERVER_ENGINE_CONVERT_H_

#include <array>
#include <chrono>

#include "absl/status/status.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "google/rpc/status.pb.h"
#include "nursery/core/clock.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/action.h"
#include "server/engine/outcome.h"

namespace nursery::engine {

v1::NodeState ToProto(NodeState state);
v1::NodeState ToProto(Outcome outcome);
v1::CauseKind ToProto(CauseKind kind);
v1::Attempt ToProto(const ActionResult& result, int number, v1::AttemptState state);
// By NodeState.
v1::StateCounts ToProto(const std::array<int64_t, 8>& counts, int64_t tolerated);
// Text that is not UTF-8 is made so.
google::rpc::Status ToProto(const absl::Status& status);
google::protobuf::Timestamp ToProto(std::chrono::system_clock::time_point time);
google::protobuf::Duration ToProto(Duration duration);

Duration FromProto(const google::protobuf::Duration& duration);
std::chrono::system_clock::time_point FromProto(const google::protobuf::Timestamp& time);

// "SUCCEEDED", ...: the contract's name without its prefix.
std::string_view ShortName(v1::NodeState state);

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_CONVERT_H_
