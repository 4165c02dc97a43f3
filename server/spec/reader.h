// Reads a Document into a protobuf message, field by field after the message's descriptor:
// durations and sizes with units, lower-case enums, the source text of plain scalars, and the short
// forms of job files (nodes at the top level, `join: any`, lists of items).
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_SPEC_READER_H_
#define NURSERY_SERVER_SPEC_READER_H_

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "server/spec/document.h"
#include "server/spec/violation.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace nursery::spec {

// Where each field of the message came from, by its path in the message
// (root.group.nodes[2].exec.argv), and how the file spells that path (nodes[2].exec.argv).
struct Place {
  std::string spelled;
  int line = 0;
  int column = 0;
};
using PlaceMap = std::unordered_map<std::string, Place>;

struct ReadOptions {
  // Gives the content of a file that the document names (items: {file: PATH}).
  std::function<absl::StatusOr<std::string>(std::string_view path)> read_file;
  // Filled in if set. Costs a string per field: only for reporting.
  PlaceMap* places = nullptr;
};

// Adds what it can to `message` and a violation for what it cannot.
void ReadMessage(const Document& document, const ReadOptions& options,
                 google::protobuf::Message& message, ViolationList& violations);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_READER_H_
