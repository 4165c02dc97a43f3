#include "client/cli/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/text.h"
#include "server/engine/text.h"
#include "server/spec/json.h"

namespace nursery::cli {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Quoted(const std::string& text) { return spec::JsonQuote(engine::ToUtf8(text)); }

std::string TimeJson(const google::protobuf::Timestamp& time) {
  const absl::Time instant =
      absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
  return Quoted(absl::FormatTime(absl::RFC3339_full, instant, absl::UTCTimeZone()));
}

// Exact to the nanosecond, which a double is not after some weeks.
std::string DurationJson(const google::protobuf::Duration& duration) {
  const bool negative = duration.seconds() < 0 || duration.nanos() < 0;
  std::string text = (negative ? "-" : "") + absl::StrCat(std::abs(duration.seconds()));
  if (duration.nanos() == 0) return text;
  char fraction[16];
  std::snprintf(fraction, sizeof fraction, ".%09d", std::abs(duration.nanos()));
  text += fraction;
  return text.substr(0, text.find_last_not_of('0') + 1);
}

// NODE_STATE_SUCCEEDED of enum NodeState: "SUCCEEDED".
std::string EnumJson(const EnumValueDescriptor& value) {
  const auto& first = value.type()->value(0)->name();
  constexpr std::string_view kUnspecified = "UNSPECIFIED";
  const size_t prefix = first.size() - std::min(first.size(), kUnspecified.size());
  return Quoted(value.name().substr(prefix));
}

std::string MessageJson(const Message& message);

std::string NestedJson(const Message& message) {
  if (message.GetDescriptor() == google::protobuf::Timestamp::descriptor()) {
    return TimeJson(static_cast<const google::protobuf::Timestamp&>(message));
  }
  if (message.GetDescriptor() == google::protobuf::Duration::descriptor()) {
    return DurationJson(static_cast<const google::protobuf::Duration&>(message));
  }
  return MessageJson(message);
}

// Element `index` of a repeated field; -1: the field is no list.
std::string ValueJson(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& of = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return index < 0 ? (of.*single)(message, &field) : (of.*repeated)(message, &field, index);
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return absl::StrCat(get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat));
    case FieldDescriptor::CPPTYPE_BOOL:
      return get(&Reflection::GetBool, &Reflection::GetRepeatedBool) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumJson(*get(&Reflection::GetEnum, &Reflection::GetRepeatedEnum));
    case FieldDescriptor::CPPTYPE_STRING:
      return Quoted(get(&Reflection::GetString, &Reflection::GetRepeatedString));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return NestedJson(index < 0 ? of.GetMessage(message, &field)
                                  : of.GetRepeatedMessage(message, &field, index));
  }
  return "null";
}

// Sorted by key, which the wire does not promise.
std::string MapJson(const Message& message, const FieldDescriptor& field) {
  const Reflection& of = *message.GetReflection();
  std::vector<std::pair<std::string, std::string>> members;
  for (int i = 0; i < of.FieldSize(message, &field); ++i) {
    const Message& entry = of.GetRepeatedMessage(message, &field, i);
    members.emplace_back(ValueJson(entry, *field.message_type()->map_key(), -1),
                         ValueJson(entry, *field.message_type()->map_value(), -1));
  }
  std::sort(members.begin(), members.end());
  std::string json;
  for (const auto& [key, value] : members) {
    absl::StrAppend(&json, json.empty() ? "" : ",", key, ":", value);
  }
  return "{" + json + "}";
}

std::string FieldJson(const Message& message, const FieldDescriptor& field) {
  if (field.is_map()) return MapJson(message, field);
  if (!field.is_repeated()) return ValueJson(message, field, -1);
  std::string json;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
    absl::StrAppend(&json, json.empty() ? "" : ",", ValueJson(message, field, i));
  }
  return "[" + json + "]";
}

std::string MessageJson(const Message& message) {
  std::string json;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    if (field.has_presence() && !message.GetReflection()->HasField(message, &field)) continue;
    absl::StrAppend(&json, json.empty() ? "" : ",", Quoted(field.name()), ":",
                    FieldJson(message, field));
  }
  return "{" + json + "}";
}

}  // namespace

std::string JobJson(const v1::Job& job) { return MessageJson(job); }
std::string EventJson(const v1::Event& event) { return MessageJson(event); }
std::string ReceiptJson(const v1::CancelReceipt& receipt) { return MessageJson(receipt); }

}  // namespace nursery::cli
