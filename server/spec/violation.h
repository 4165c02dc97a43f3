// What is wrong with a spec, where, and what to do.
//
// Thread safety: plain data.
#ifndef NURSERY_SERVER_SPEC_VIOLATION_H_
#define NURSERY_SERVER_SPEC_VIOLATION_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace nursery::spec {

struct Violation {
  // As in nodes[2].needs[0]; empty for the whole.
  std::string path;
  std::string message;
  // From 1 in the file; 0 where there is none.
  int line = 0;
  int column = 0;
};

// "FILE:LINE:COLUMN: PATH: MESSAGE", without what is unknown.
std::string Format(const Violation& violation, std::string_view file);

// A path under construction: "root.group.nodes[2]". Costs no allocation once it has grown.
class FieldPath {
 public:
  // Leaves the path as it was when it was entered.
  class Segment {
   public:
    Segment(FieldPath& path, size_t size) : path_(path), size_(size) {}
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;
    ~Segment() { path_.text_.resize(size_); }

   private:
    FieldPath& path_;
    size_t size_;
  };

  // An empty name adds nothing.
  [[nodiscard]] Segment Enter(std::string_view name);
  [[nodiscard]] Segment Enter(size_t index);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Violations of one spec; more than kMaxKeptErrors are only counted.
class ViolationList {
 public:
  void Add(Violation violation);

  const std::vector<Violation>& violations() const { return violations_; }
  size_t total() const { return total_; }
  bool empty() const { return total_ == 0; }

 private:
  std::vector<Violation> violations_;
  size_t total_ = 0;
};

// The one of `candidates` that `word` is most likely a misspelling of; empty if none is close.
std::string Closest(std::string_view word, const std::vector<std::string>& candidates);

// "a, b, c", at most ten of them and how many more.
std::string Listed(const std::vector<std::string>& names);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_VIOLATION_H_
