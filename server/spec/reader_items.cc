#include "nursery/core/status.h"
#include "nursery/v1/job.pb.h"
#include "server/spec/json.h"
#include "server/spec/limits.h"
#include "server/spec/message_reader.h"

namespace nursery::spec {
namespace {

// A plain scalar that JSON reads the same way; its source text is kept (1.10 stays 1.10).
bool IsJsonScalar(std::string_view text) {
  return text == "true" || text == "false" || text == "null" || IsJsonNumber(text);
}

}  // namespace

// [a, b] | {file: PATH} | {matrix: {...}, exclude: [...]} | the fields of Items
void MessageReader::ReadItems(Id id, nursery::v1::Items& items) {
  if (document_.at(id).kind == Document::Kind::kSequence) {
    return ReadItemList(id, *items.mutable_list());
  }
  if (!Expect(id, Document::Kind::kMapping,
              "a list, or one of {file}, {output_of}, {range}, {matrix}, {server_file}")) {
    return;
  }
  const google::protobuf::Descriptor* type = items.GetDescriptor();
  for (size_t i = 0; i < document_.at(id).size; ++i) {
    const Entry entry = EntryAt(id, i);
    const bool is_file = entry.name == "file";
    if (!is_file && entry.name != "matrix" && entry.name != "exclude") {
      ReadEntry(entry, items);
      continue;
    }
    const Field& field = *type->FindFieldByName(is_file ? "list" : "matrix");
    const Segments segments(*this, field.name(), entry.name);
    if (!CheckOneof(entry, field, items)) continue;
    if (is_file) {
      ReadItemFile(entry.value, *items.mutable_list());
    } else if (entry.name == "matrix") {
      ReadMatrix(entry.value, *items.mutable_matrix());
    } else if (document_.Find(id, "matrix").has_value()) {
      ReadExclusions(entry.value, *items.mutable_matrix());
    } else {
      Fail(entry.key, "needs 'matrix' beside it");
    }
  }
}

void MessageReader::ReadItemList(Id sequence, nursery::v1::ItemList& list) {
  const Segments segments(*this, "list", "");
  Note(sequence);
  const size_t size = document_.at(sequence).size;
  bool all_text = true;
  for (size_t i = 0; i < size; ++i) {
    all_text &= document_.at(document_.Item(sequence, i)).kind == Document::Kind::kScalar;
  }
  list.set_format(all_text ? nursery::v1::ITEM_FORMAT_TEXT : nursery::v1::ITEM_FORMAT_JSON);
  std::string& data = *list.mutable_data();
  for (size_t i = 0; i < size; ++i) {
    const Id item = document_.Item(sequence, i);
    const size_t begin = data.size();
    if (all_text) {
      data += document_.Text(item);
    } else {
      data += ToJson(item);
    }
    list.add_sizes(static_cast<uint32_t>(data.size() - begin));
    if (data.size() > kMaxFileBytes) {
      return Fail(item,
                  "the items are over the limit of 16 MiB; put them into a file on the server");
    }
  }
}

void MessageReader::ReadItemFile(Id path, nursery::v1::ItemList& list) {
  Note(path);
  const std::optional<std::string_view> name = ScalarText(path, "the path of a file");
  if (!name.has_value()) return;
  if (!options_.read_file) {
    return Fail(path, "files of the client are read by the command line only; send a list");
  }
  absl::StatusOr<std::string> content = options_.read_file(*name);
  if (!content.ok()) return Fail(path, std::string(nursery::Message(content.status())));
  list.set_format(nursery::v1::ITEM_FORMAT_TEXT);
  for (std::string_view rest = *content; !rest.empty();) {
    const size_t size = std::min(rest.find('\n'), rest.size());
    list.mutable_data()->append(rest.substr(0, size));
    list.add_sizes(static_cast<uint32_t>(size));
    rest.remove_prefix(std::min(size + 1, rest.size()));
  }
}

void MessageReader::ReadMatrix(Id axes, nursery::v1::MatrixItems& matrix) {
  Note(axes);
  if (!Expect(axes, Document::Kind::kMapping, "a mapping of axes to lists")) return;
  for (size_t i = 0; i < document_.at(axes).size; ++i) ReadAxis(EntryAt(axes, i), matrix);
}

// Called with `matrix` as the current field: `exclude` stands beside it in a file.
void MessageReader::ReadExclusions(Id list, nursery::v1::MatrixItems& matrix) {
  const Segments segments(*this, "exclude", "");
  Note(list);
  if (!Expect(list, Document::Kind::kSequence, "a list of mappings")) return;
  const Field& values = *nursery::v1::MatrixExclude::descriptor()->FindFieldByName("values");
  for (size_t i = 0; i < document_.at(list).size; ++i) {
    const Segments item_segments(*this, i);
    const Segments value_segments(*this, "values", "");
    ReadMap(document_.Item(list, i), values, *matrix.add_exclude());
  }
}

void MessageReader::ReadAxis(const Entry& entry, nursery::v1::MatrixItems& matrix) {
  const FieldPath::Segment spelled = spelled_.Enter(entry.name);
  const FieldPath::Segment axes = canonical_.Enter("axes");
  const FieldPath::Segment number = canonical_.Enter(static_cast<size_t>(matrix.axes_size()));
  Note(entry.key);
  nursery::v1::MatrixAxis& axis = *matrix.add_axes();
  axis.set_name(std::string(entry.name));
  const Segments segments(*this, "values", "");
  ReadRepeated(entry.value, *axis.GetDescriptor()->FindFieldByName("values"), axis);
}

std::string MessageReader::ToJson(Id id) const {
  const Document::Element& element = document_.at(id);
  if (element.kind == Document::Kind::kScalar) {
    const std::string_view text = document_.Text(id);
    return element.plain && IsJsonScalar(text) ? std::string(text) : JsonQuote(text);
  }
  const bool is_mapping = element.kind == Document::Kind::kMapping;
  std::string json(1, is_mapping ? '{' : '[');
  for (size_t i = 0; i < element.size; ++i) {
    if (i > 0) json += ',';
    if (is_mapping) json += JsonQuote(document_.Text(document_.Key(id, i))) + ':';
    json += ToJson(is_mapping ? document_.Value(id, i) : document_.Item(id, i));
  }
  return json += is_mapping ? '}' : ']';
}

}  // namespace nursery::spec
