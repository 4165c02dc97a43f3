// A YAML or JSON text as a tree of elements that know their line and column. Compact: 32 bytes per
// element; an alias is a second reference to its element.
//
// Thread safety: immutable after Parse.
//
//   std::optional<Document> document = Document::Parse(text, errors);
//   if (document) Walk(*document, document->root());
#ifndef NURSERY_SERVER_SPEC_DOCUMENT_H_
#define NURSERY_SERVER_SPEC_DOCUMENT_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/spec/violation.h"

namespace nursery::spec {

class Document {
 public:
  using Id = uint32_t;
  enum class Kind : uint8_t { kScalar, kSequence, kMapping };

  struct Element {
    // A file of a million items has a million of these: 16 bytes each.
    uint32_t line = 0;         // from 1
    uint32_t column : 28 = 0;  // from 1; a file is far smaller
    Kind kind : 3 = Kind::kScalar;
    bool plain : 1 = false;  // a scalar without quotes
    uint32_t begin = 0;      // of the text, or of the children
    uint32_t size = 0;       // bytes of text, items, or entries
  };
  static_assert(sizeof(Element) == 16);

  // One document without tags, duplicate or merge keys, whose aliases expand it tenfold at most.
  // Nothing if `text` cannot be parsed; other violations leave the rest to be read for more.
  static std::optional<Document> Parse(std::string_view text, ViolationList& violations);

  Id root() const { return root_; }
  const Element& at(Id id) const { return elements_[id]; }
  std::string_view Text(Id scalar) const {
    return std::string_view(text_).substr(at(scalar).begin, at(scalar).size);
  }
  Id Item(Id sequence, size_t i) const { return children_[at(sequence).begin + i]; }
  Id Key(Id mapping, size_t i) const { return children_[at(mapping).begin + 2 * i]; }
  Id Value(Id mapping, size_t i) const { return children_[at(mapping).begin + 2 * i + 1]; }
  // The value of `key`, if the mapping has it.
  std::optional<Id> Find(Id mapping, std::string_view key) const;

 private:
  friend class DocumentParser;

  std::string text_;
  // Deques grow without a second copy.
  std::deque<Element> elements_;
  std::deque<Id> children_;
  Id root_ = 0;
};

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_DOCUMENT_H_
