#include "server/spec/reader.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include "nursery/core/status.h"
#include "nursery/v1/job.pb.h"
#include "nursery/v1/options.pb.h"
#include "server/spec/message_reader.h"
#include "server/spec/scalar.h"

namespace nursery::spec {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;

// Fields that the loader or the command line sets, not the file.
bool IsHidden(const FieldDescriptor& field) {
  const std::string& name = field.name();
  return name.ends_with("_expression") || field.full_name() == "nursery.v1.JobSpec.source_file" ||
         field.full_name() == "nursery.v1.JobSpec.arguments";
}

const FieldDescriptor* FindField(const Descriptor& type, std::string_view name) {
  const FieldDescriptor* field = type.FindFieldByName(std::string(name));
  return field == nullptr || IsHidden(*field) ? nullptr : field;
}

void AppendFieldNames(const Descriptor& type, std::vector<std::string>& names) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (!IsHidden(*type.field(i))) names.push_back(type.field(i)->name());
  }
}

// What may stand in a mapping of `type`, short forms included.
std::vector<std::string> FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  AppendFieldNames(type, names);
  const bool is_job = &type == nursery::v1::JobSpec::descriptor();
  if (is_job) AppendFieldNames(*nursery::v1::NodeSpec::descriptor(), names);
  if (is_job || &type == nursery::v1::NodeSpec::descriptor()) {
    AppendFieldNames(*nursery::v1::GroupSpec::descriptor(), names);
  }
  return names;
}

// WHEN_SUCCESS -> success, with the prefix taken from WHEN_UNSPECIFIED.
std::string LowerCase(const EnumDescriptor& type, int i) {
  const size_t prefix = type.value(0)->name().size() - std::string_view("UNSPECIFIED").size();
  std::string name = type.value(i)->name().substr(prefix);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::string MembersOf(const OneofDescriptor& oneof) {
  std::vector<std::string> names;
  for (int i = 0; i < oneof.field_count(); ++i) {
    if (!IsHidden(*oneof.field(i))) names.push_back(oneof.field(i)->name());
  }
  return Listed(names);
}

// "two columns left"
std::string ColumnsLeft(uint32_t columns) {
  constexpr std::array<std::string_view, 9> kWords = {"",     "one", "two",   "three", "four",
                                                      "five", "six", "seven", "eight"};
  std::string out(columns < kWords.size() ? kWords[columns] : "");
  if (out.empty()) out = std::to_string(columns);
  return out + (columns == 1 ? " column left" : " columns left");
}

}  // namespace

void ReadMessage(const Document& document, const ReadOptions& options,
                 google::protobuf::Message& message, ViolationList& violations) {
  MessageReader(document, options, violations).Read(document.root(), message);
}

void MessageReader::Read(Id id, Message& message) {
  Note(id);
  if (ReadForm(id, message)) return;
  if (Expect(id, Document::Kind::kMapping, "a mapping of fields")) ReadFields(id, message);
}

void MessageReader::ReadFields(Id mapping, Message& message) {
  if (levels_.empty()) levels_.push_back({message.GetDescriptor(), mapping, mapping});
  for (size_t i = 0; i < document_.at(mapping).size; ++i) {
    ReadEntry(EntryAt(mapping, i), message);
  }
}

void MessageReader::ReadEntry(const Entry& entry, Message& message) {
  const Field* field = FindField(*message.GetDescriptor(), entry.name);
  if (field == nullptr) return UnknownField(entry, message);
  ReadField(entry, *field, message);
}

void MessageReader::ReadField(const Entry& entry, const Field& field, Message& message) {
  const Segments segments(*this, field.name(), entry.name);
  if (!CheckOneof(entry, field, message)) return;
  levels_.push_back({field.message_type(), entry.value, entry.key});
  if (field.is_map()) {
    ReadMap(entry.value, field, message);
  } else if (field.is_repeated()) {
    ReadRepeated(entry.value, field, message);
  } else if (field.message_type() != nullptr) {
    Read(entry.value, *message.GetReflection()->MutableMessage(&message, &field));
  } else {
    SetScalar(entry.value, field, message);
  }
  levels_.pop_back();
}

void MessageReader::ReadRepeated(Id sequence, const Field& field, Message& message) {
  Note(sequence);
  if (!Expect(sequence, Document::Kind::kSequence, "a list")) return;
  for (size_t i = 0; i < document_.at(sequence).size; ++i) {
    const Segments segments(*this, i);
    const Id item = document_.Item(sequence, i);
    if (field.message_type() == nullptr) {
      SetScalar(item, field, message);
      // One that was refused keeps its place, so that the others keep theirs.
      const auto* reflection = message.GetReflection();
      if (reflection->FieldSize(message, &field) > static_cast<int>(i)) continue;
      if (field.cpp_type() == Field::CPPTYPE_STRING) reflection->AddString(&message, &field, "");
      if (field.cpp_type() == Field::CPPTYPE_INT32) reflection->AddInt32(&message, &field, 0);
    } else {
      levels_.push_back({field.message_type(), item, item});
      Read(item, *message.GetReflection()->AddMessage(&message, &field));
      levels_.pop_back();
    }
  }
}

void MessageReader::ReadMap(Id mapping, const Field& field, Message& message) {
  Note(mapping);
  if (!Expect(mapping, Document::Kind::kMapping, "a mapping of names")) return;
  const Field* key_field = field.message_type()->map_key();
  const Field* value_field = field.message_type()->map_value();
  for (size_t i = 0; i < document_.at(mapping).size; ++i) {
    const Entry entry = EntryAt(mapping, i);
    const Segments segments(*this, entry.name, entry.name);
    Message& pair = *message.GetReflection()->AddMessage(&message, &field);
    pair.GetReflection()->SetString(&pair, key_field, std::string(entry.name));
    if (value_field->message_type() == nullptr) {
      SetScalar(entry.value, *value_field, pair);
    } else {
      levels_.push_back({value_field->message_type(), entry.value, entry.key});
      Read(entry.value, *pair.GetReflection()->MutableMessage(&pair, value_field));
      levels_.pop_back();
    }
  }
}

void MessageReader::SetScalar(Id id, const Field& field, Message& message) {
  Note(id);
  switch (field.cpp_type()) {
    case Field::CPPTYPE_STRING: {
      const std::optional<std::string_view> text = ScalarText(id, "a text");
      if (!text.has_value()) return;
      const auto* reflection = message.GetReflection();
      if (field.is_repeated()) {
        reflection->AddString(&message, &field, std::string(*text));
      } else {
        reflection->SetString(&message, &field, std::string(*text));
      }
      return;
    }
    case Field::CPPTYPE_ENUM:
      return SetEnum(id, field, message);
    case Field::CPPTYPE_BOOL: {
      const std::optional<std::string_view> text = ScalarText(id, "true or false");
      if (!text.has_value()) return;
      if (*text != "true" && *text != "false") {
        return Fail(id, "'" + std::string(*text) + "' is neither true nor false");
      }
      return message.GetReflection()->SetBool(&message, &field, *text == "true");
    }
    default:
      return SetNumber(id, field, message);
  }
}

void MessageReader::SetEnum(Id id, const Field& field, Message& message) {
  const EnumDescriptor& type = *field.enum_type();
  std::vector<std::string> names;
  for (int i = 1; i < type.value_count(); ++i) names.push_back(LowerCase(type, i));
  const std::optional<std::string_view> text = ScalarText(id, "one of " + Listed(names));
  if (!text.has_value()) return;
  for (int i = 1; i < type.value_count(); ++i) {
    if (*text == names[static_cast<size_t>(i) - 1]) {
      return message.GetReflection()->SetEnumValue(&message, &field, type.value(i)->number());
    }
  }
  Fail(id, "'" + std::string(*text) + "' is not one of " + Listed(names));
}

void MessageReader::SetNumber(Id id, const Field& field, Message& message) {
  const bool is_size = field.options().GetExtension(nursery::v1::byte_size);
  const std::optional<std::string_view> text = ScalarText(id, is_size ? "a size" : "a number");
  if (!text.has_value()) return;
  const auto* reflection = message.GetReflection();
  const Field* expression = field.containing_type()->FindFieldByName(field.name() + "_expression");
  if (expression != nullptr && text->find("${{") != text->npos) {
    return reflection->SetString(&message, expression, std::string(*text));
  }
  if (field.cpp_type() == Field::CPPTYPE_DOUBLE) {
    const absl::StatusOr<double> number = ParseNumber(*text);
    if (!number.ok()) return Fail(id, std::string(nursery::Message(number.status())));
    return reflection->SetDouble(&message, &field, *number);
  }
  const absl::StatusOr<int64_t> number = is_size ? ParseSize(*text) : ParseInteger(*text);
  if (!number.ok()) return Fail(id, std::string(nursery::Message(number.status())));
  if (field.cpp_type() == Field::CPPTYPE_INT64) {
    return field.is_repeated() ? reflection->AddInt64(&message, &field, *number)
                               : reflection->SetInt64(&message, &field, *number);
  }
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  if (*number < -kMax || *number > kMax) {
    return Fail(id, std::string(*text) + " is over the limit of " + std::to_string(kMax));
  }
  const auto small = static_cast<int32_t>(*number);
  return field.is_repeated() ? reflection->AddInt32(&message, &field, small)
                             : reflection->SetInt32(&message, &field, small);
}

bool MessageReader::CheckOneof(const Entry& entry, const Field& field, const Message& message) {
  const OneofDescriptor* oneof = field.real_containing_oneof();
  if (oneof == nullptr || !message.GetReflection()->HasOneof(message, oneof)) return true;
  const Field* other = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
  if (other == &field) return true;
  Fail(entry.key, "excludes '" + other->name() + "', which is given too; only one of " +
                      MembersOf(*oneof) + " may be");
  return false;
}

void MessageReader::UnknownField(const Entry& entry, const Message& message) {
  const Segments segments(*this, entry.name, entry.name);
  const Descriptor& node = *nursery::v1::NodeSpec::descriptor();
  const std::string name(entry.name);
  if (FindField(node, name) != nullptr && levels_.size() > 1 && message.GetDescriptor() != &node) {
    // The nearest enclosing node is where it belongs, if the mapping is one of the node's kinds.
    const Level& level = levels_.back();
    const Descriptor* outer = levels_[levels_.size() - 2].type;
    const bool in_node = outer == &node || outer == nursery::v1::JobSpec::descriptor();
    if (in_node) return Fail(entry.key, "is a field of the node; " + MoveOut(entry, level));
  }
  const std::vector<std::string> known = FieldNames(*message.GetDescriptor());
  const std::string closest = Closest(name, known);
  if (!closest.empty() && closest != name) {
    return Fail(entry.key, "unknown field; did you mean '" + closest + "'?");
  }
  const Descriptor* type = message.GetDescriptor();
  const Field* kind =
      type == &node || type == nursery::v1::JobSpec::descriptor() ? KindWith(name) : nullptr;
  if (kind != nullptr) {
    return Fail(entry.key, "unknown field; '" + name + "' belongs inside '" + kind->name() + ":'");
  }
  Fail(entry.key, "unknown field; known are " + Listed(known));
}

const MessageReader::Field* MessageReader::KindWith(std::string_view name) const {
  const Field* found = nullptr;
  const OneofDescriptor& kinds = *nursery::v1::NodeSpec::descriptor()->oneof_decl(0);
  for (int i = 0; i < kinds.field_count(); ++i) {
    const Field* kind = kinds.field(i);
    if (FindField(*kind->message_type(), name) == nullptr) continue;
    if (document_.Find(levels_.back().mapping, kind->name()).has_value()) return kind;
    if (found == nullptr) found = kind;
  }
  return found;
}

std::string MessageReader::MoveOut(const Entry& entry, const Level& level) const {
  const Document::Element& key = document_.at(entry.key);
  const Document::Element& outer = document_.at(level.key);
  const std::string move = "move `" + std::string(entry.name) + "` ";
  if (key.line == outer.line || key.column <= outer.column) {
    return move + "out of `" + std::string(document_.Text(level.key)) + "`";
  }
  return move + ColumnsLeft(key.column - outer.column);
}

MessageReader::Entry MessageReader::EntryAt(Id mapping, size_t i) const {
  const Id key = document_.Key(mapping, i);
  return {key, document_.Value(mapping, i), document_.Text(key)};
}

std::optional<std::string_view> MessageReader::ScalarText(Id id, std::string_view wanted) {
  if (!Expect(id, Document::Kind::kScalar, wanted)) return std::nullopt;
  const std::string_view text = document_.Text(id);
  if (text.empty() && document_.at(id).plain) {
    Fail(id, "has no value; give one, \"\" for an empty text, or leave the field out");
    return std::nullopt;
  }
  return text;
}

bool MessageReader::Expect(Id id, Document::Kind kind, std::string_view wanted) {
  const Document::Element& element = document_.at(id);
  if (element.kind == kind) return true;
  std::string found = "a mapping";
  if (element.kind == Document::Kind::kSequence) found = "a list";
  if (element.kind == Document::Kind::kScalar) {
    found =
        element.size == 0 ? "nothing" : "'" + std::string(document_.Text(id).substr(0, 40)) + "'";
  }
  Fail(id, "must be " + std::string(wanted) + ", not " + found);
  return false;
}

void MessageReader::Fail(Id id, std::string message) {
  const Document::Element& element = document_.at(id);
  violations_.Add({spelled_.text(), std::move(message), static_cast<int>(element.line),
                   static_cast<int>(element.column)});
}

void MessageReader::Note(Id id) {
  if (options_.places == nullptr) return;
  const Document::Element& element = document_.at(id);
  options_.places->try_emplace(
      canonical_.text(),
      Place{spelled_.text(), static_cast<int>(element.line), static_cast<int>(element.column)});
}

}  // namespace nursery::spec
