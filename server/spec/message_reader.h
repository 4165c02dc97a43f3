// The walk of reader.h over one document. reader.cc has the general rules, reader_forms.cc the
// short forms of single messages, reader_items.cc the items of a map.
#ifndef NURSERY_SERVER_SPEC_MESSAGE_READER_H_
#define NURSERY_SERVER_SPEC_MESSAGE_READER_H_

#include <google/protobuf/message.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/spec/reader.h"

namespace nursery::v1 {
class ItemList;
class Items;
class MatrixItems;
}  // namespace nursery::v1

namespace nursery::spec {

class MessageReader {
 public:
  using Id = Document::Id;
  using Message = google::protobuf::Message;
  using Descriptor = google::protobuf::Descriptor;
  using Field = google::protobuf::FieldDescriptor;

  MessageReader(const Document& document, const ReadOptions& options, ViolationList& violations)
      : document_(document), options_(options), violations_(violations) {}

  void Read(Id id, Message& message);

 private:
  // A key of a mapping and what stands behind it.
  struct Entry {
    Id key;
    Id value;
    std::string_view name;
  };
  // The mapping that is being read, for "move it two columns left".
  struct Level {
    const Descriptor* type;
    Id mapping;
    Id key;  // that the mapping stands behind; of the document's root: the mapping itself
  };
  // Where a path continues: in the message, and as the file spells it.
  struct Segments {
    Segments(MessageReader& reader, std::string_view canonical, std::string_view spelled)
        : canonical(reader.canonical_.Enter(canonical)), spelled(reader.spelled_.Enter(spelled)) {}
    Segments(MessageReader& reader, size_t index)
        : canonical(reader.canonical_.Enter(index)), spelled(reader.spelled_.Enter(index)) {}
    FieldPath::Segment canonical;
    FieldPath::Segment spelled;
  };

  // reader.cc
  void ReadFields(Id mapping, Message& message);
  void ReadEntry(const Entry& entry, Message& message);
  void ReadField(const Entry& entry, const Field& field, Message& message);
  void ReadRepeated(Id sequence, const Field& field, Message& message);
  void ReadMap(Id mapping, const Field& field, Message& message);
  void SetScalar(Id id, const Field& field, Message& message);
  void SetEnum(Id id, const Field& field, Message& message);
  void SetNumber(Id id, const Field& field, Message& message);
  bool CheckOneof(const Entry& entry, const Field& field, const Message& message);
  void UnknownField(const Entry& entry, const Message& message);
  // The node kind whose field `name` is, the kind that the mapping has first; null if none.
  const Field* KindWith(std::string_view name) const;
  std::string MoveOut(const Entry& entry, const Level& level) const;

  // reader_forms.cc
  bool ReadForm(Id id, Message& message);
  void ReadJob(Id mapping, Message& job);
  void ReadNode(Id mapping, Message& node);
  void ReadNodeEntry(const Entry& entry, bool has_nodes, Message& node);
  void ReadDuration(Id id, Message& duration);
  void ReadTimestamp(Id id, Message& timestamp);
  void ReadTimeLimit(Id id, Message& limit);
  void ReadJoin(Id id, Message& join);
  void ReadShorthand(Id id, std::string_view field, Message& message);

  // reader_items.cc
  void ReadItems(Id id, nursery::v1::Items& items);
  void ReadItemList(Id sequence, nursery::v1::ItemList& list);
  void ReadItemFile(Id path, nursery::v1::ItemList& list);
  void ReadMatrix(Id axes, nursery::v1::MatrixItems& matrix);
  void ReadExclusions(Id list, nursery::v1::MatrixItems& matrix);
  void ReadAxis(const Entry& axis, nursery::v1::MatrixItems& matrix);
  std::string ToJson(Id id) const;

  Entry EntryAt(Id mapping, size_t i) const;
  // The text of a scalar; a violation and nothing for a list, a mapping, or no value at all.
  std::optional<std::string_view> ScalarText(Id id, std::string_view wanted);
  bool Expect(Id id, Document::Kind kind, std::string_view wanted);
  // A violation at the current path.
  void Fail(Id id, std::string message);
  // Remembers that the current path came from `id`.
  void Note(Id id);

  const Document& document_;
  const ReadOptions& options_;
  ViolationList& violations_;
  FieldPath canonical_;
  FieldPath spelled_;
  std::vector<Level> levels_;
};

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_MESSAGE_READER_H_
