#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include "nursery/core/status.h"
#include "nursery/v1/job.pb.h"
#include "server/spec/message_reader.h"
#include "server/spec/scalar.h"

namespace nursery::spec {
namespace {

bool HasField(const google::protobuf::Descriptor* type, std::string_view name) {
  return type->FindFieldByName(std::string(name)) != nullptr;
}

void SetDuration(std::chrono::nanoseconds value, google::protobuf::Duration& duration) {
  duration.set_seconds(value.count() / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(value.count() % 1'000'000'000));
}

}  // namespace

// True if `message` is of a type with a form of its own; it has been read then.
bool MessageReader::ReadForm(Id id, Message& message) {
  namespace v1 = nursery::v1;
  const google::protobuf::Descriptor* type = message.GetDescriptor();
  const bool is_scalar = document_.at(id).kind == Document::Kind::kScalar;
  if (type == google::protobuf::Duration::descriptor()) {
    ReadDuration(id, message);
  } else if (type == google::protobuf::Timestamp::descriptor()) {
    ReadTimestamp(id, message);
  } else if (type == v1::TimeLimit::descriptor()) {
    ReadTimeLimit(id, message);
  } else if (type == v1::Join::descriptor()) {
    ReadJoin(id, message);
  } else if (type == v1::Items::descriptor()) {
    ReadItems(id, static_cast<v1::Items&>(message));
  } else if (type == v1::SleepAction::descriptor()) {
    if (!is_scalar) return false;
    ReadShorthand(id, "duration", message);
  } else if (type == v1::CallAction::descriptor() && is_scalar) {
    ReadShorthand(id, "function", message);
  } else if (type == v1::StdinSpec::descriptor() && is_scalar) {
    ReadShorthand(id, "text", message);
  } else if (type == v1::JobSpec::descriptor()) {
    if (Expect(id, Document::Kind::kMapping, "a mapping of fields")) ReadJob(id, message);
  } else if (type == v1::NodeSpec::descriptor()) {
    if (Expect(id, Document::Kind::kMapping, "a mapping of fields")) ReadNode(id, message);
  } else {
    return false;
  }
  return true;
}

// Fields of the root node may stand beside those of the job, instead of in `root`.
void MessageReader::ReadJob(Id mapping, Message& message) {
  auto& job = static_cast<nursery::v1::JobSpec&>(message);
  levels_.push_back({job.GetDescriptor(), mapping, mapping});
  const bool has_nodes = document_.Find(mapping, "nodes").has_value();
  const bool has_root = document_.Find(mapping, "root").has_value();
  if (!has_root) {
    const Segments segments(*this, "root", "");
    Note(mapping);
    job.mutable_root();
  }
  for (size_t i = 0; i < document_.at(mapping).size; ++i) {
    const Entry entry = EntryAt(mapping, i);
    const bool of_node = HasField(nursery::v1::NodeSpec::descriptor(), entry.name) ||
                         (has_nodes && HasField(nursery::v1::GroupSpec::descriptor(), entry.name));
    if (HasField(job.GetDescriptor(), entry.name) || !of_node) {
      ReadEntry(entry, job);
    } else if (has_root) {
      const Segments segments(*this, entry.name, entry.name);
      Fail(entry.key, "cannot stand beside 'root'; move it into root");
    } else {
      const Segments segments(*this, "root", "");
      ReadNodeEntry(entry, has_nodes, *job.mutable_root());
    }
  }
  levels_.pop_back();
}

// A node with `nodes` is a group, the group's fields beside it.
void MessageReader::ReadNode(Id mapping, Message& node) {
  const bool has_nodes = document_.Find(mapping, "nodes").has_value();
  for (size_t i = 0; i < document_.at(mapping).size; ++i) {
    ReadNodeEntry(EntryAt(mapping, i), has_nodes, node);
  }
}

void MessageReader::ReadNodeEntry(const Entry& entry, bool has_nodes, Message& message) {
  auto& node = static_cast<nursery::v1::NodeSpec&>(message);
  const google::protobuf::Descriptor* group_type = nursery::v1::GroupSpec::descriptor();
  if (!has_nodes || HasField(node.GetDescriptor(), entry.name) ||
      !HasField(group_type, entry.name)) {
    return ReadEntry(entry, node);
  }
  const Field* group = node.GetDescriptor()->FindFieldByName("group");
  if (!node.has_group() && !CheckOneof(entry, *group, node)) return;
  const Segments segments(*this, "group", "");
  ReadEntry(entry, *node.mutable_group());
}

void MessageReader::ReadDuration(Id id, Message& message) {
  const std::optional<std::string_view> text = ScalarText(id, "a duration, as in 10s");
  if (!text.has_value()) return;
  const absl::StatusOr<std::chrono::nanoseconds> value = ParseDuration(*text);
  if (!value.ok()) return Fail(id, std::string(nursery::Message(value.status())));
  SetDuration(*value, static_cast<google::protobuf::Duration&>(message));
}

void MessageReader::ReadTimestamp(Id id, Message& message) {
  const std::optional<std::string_view> text = ScalarText(id, "a time, as in 2026-11-24T06:00:00Z");
  if (!text.has_value()) return;
  if (!google::protobuf::util::TimeUtil::FromString(
          std::string(*text), static_cast<google::protobuf::Timestamp*>(&message))) {
    Fail(id, "'" + std::string(*text) + "' is not a time, as in 2026-11-24T06:00:00Z");
  }
}

void MessageReader::ReadTimeLimit(Id id, Message& message) {
  const std::optional<std::string_view> text = ScalarText(id, "a duration, as in 10s, or none");
  if (!text.has_value()) return;
  auto& limit = static_cast<nursery::v1::TimeLimit&>(message);
  limit.set_line(static_cast<int32_t>(document_.at(id).line));
  limit.set_column(static_cast<int32_t>(document_.at(id).column));
  if (*text == "none") return limit.set_none(true);
  const absl::StatusOr<std::chrono::nanoseconds> value = ParseDuration(*text);
  if (!value.ok()) return Fail(id, std::string(nursery::Message(value.status())));
  SetDuration(*value, *limit.mutable_duration());
}

// all | collect | any | {quorum: N} | {max_failures: N} | {max_failures: P%}
void MessageReader::ReadJoin(Id id, Message& message) {
  auto& join = static_cast<nursery::v1::Join&>(message);
  const google::protobuf::Descriptor* type = join.GetDescriptor();
  if (document_.at(id).kind == Document::Kind::kScalar) {
    return SetEnum(id, *type->FindFieldByName("mode"), join);
  }
  if (!Expect(id, Document::Kind::kMapping,
              "all, collect, any, {quorum: N} or {max_failures: N}")) {
    return;
  }
  for (size_t i = 0; i < document_.at(id).size; ++i) {
    const Entry entry = EntryAt(id, i);
    const bool is_text = document_.at(entry.value).kind == Document::Kind::kScalar;
    if (entry.name == "max_failures" && is_text && document_.Text(entry.value).ends_with('%')) {
      const Field& percent = *type->FindFieldByName("max_failures_percent");
      const Segments segments(*this, percent.name(), entry.name);
      if (!CheckOneof(entry, percent, join)) continue;
      Note(entry.value);
      const absl::StatusOr<double> share = ParseNumber(document_.Text(entry.value));
      if (!share.ok()) {
        Fail(entry.value, std::string(nursery::Message(share.status())));
      } else {
        join.set_max_failures_percent(*share * 100);
      }
    } else {
      ReadEntry(entry, join);
    }
  }
}

// A scalar in place of a mapping with that one field.
void MessageReader::ReadShorthand(Id id, std::string_view name, Message& message) {
  const Field& field = *message.GetDescriptor()->FindFieldByName(std::string(name));
  const Field* expression =
      message.GetDescriptor()->FindFieldByName(std::string(name) + "_expression");
  const Segments segments(*this, name, "");
  const bool has_expression = document_.Text(id).find("${{") != std::string_view::npos;
  if (expression != nullptr && has_expression) {
    SetScalar(id, *expression, message);
  } else if (field.message_type() != nullptr) {
    Read(id, *message.GetReflection()->MutableMessage(&message, &field));
  } else {
    SetScalar(id, field, message);
  }
}

}  // namespace nursery::spec
