// From the contract's messages to the client's plain structs, and times to messages.
//
// Thread safety: pure functions.
#ifndef NURSERY_CLIENT_SRC_CONVERT_H_
#define NURSERY_CLIENT_SRC_CONVERT_H_

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "nursery/client/job_info.h"
#include "nursery/v1/event.pb.h"
#include "nursery/v1/introspection_service.pb.h"
#include "nursery/v1/resources.pb.h"

namespace nursery::client {

google::protobuf::Duration ToProto(Duration duration);
google::protobuf::Timestamp ToProto(WallTime time);

JobInfo FromProto(const v1::Job& job);
Event FromProto(const v1::Event& event);
OutputChunk FromProto(const v1::OutputChunk& chunk);
NodeInfo FromProto(const v1::Node& node);
ExplanationInfo FromProto(const v1::Explanation& explanation);
CancelReceipt FromProto(const v1::CancelReceipt& receipt);
ServerInfo FromProto(const v1::ServerInfo& info);

}  // namespace nursery::client

#endif  // NURSERY_CLIENT_SRC_CONVERT_H_
