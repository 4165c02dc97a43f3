// Text with ${{ expressions }} in it, parsed once when the job is validated and evaluated against
// the Scope of the node that runs. Parameters are already replaced by their values.
//
// Expressions: item, item.F (or the name a map gives with `as`), index, key, output.N, output.N.F,
// job.id, job.name, job.dir, attempt, sem.N, and json(), urlencode(), shell() of one of them.
//
// Thread safety: a Template is immutable and may be shared; a copy costs a reference count.
//
//   absl::StatusOr<std::string> url = exec.argv[1].Expand(scope);
#ifndef NURSERY_SERVER_SPEC_EXPRESSION_H_
#define NURSERY_SERVER_SPEC_EXPRESSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/spec/value.h"

namespace nursery::spec {

using NodeIndex = int32_t;

// What a running node can see. Every function is asked only for names that validation has accepted;
// an error it returns (an output that is truncated or not UTF-8) fails the node.
class Scope {
 public:
  virtual ~Scope() = default;
  // The item of the enclosing map node `map`, its index and its key.
  virtual absl::StatusOr<Value> Item(NodeIndex map) const = 0;
  virtual int64_t Index(NodeIndex map) const = 0;
  virtual std::string Key(NodeIndex map) const = 0;
  // Output of node `sibling`, which has ended: UTF-8 without trailing newlines, at most 64 KiB. It
  // is a need of the node itself or of one of its ancestors, so it may be outside enclosing maps.
  virtual absl::StatusOr<std::string> Output(NodeIndex sibling) const = 0;
  virtual std::string JobId() const = 0;
  virtual std::string JobName() const = 0;
  virtual absl::StatusOr<std::string> JobDir() const = 0;
  // From 1.
  virtual int Attempt() const = 0;
  // Units held of the job's semaphore number `semaphore`, comma separated.
  virtual std::string Units(int semaphore) const = 0;
};

// One expression.
struct Expression {
  enum class Source { kItem, kIndex, kKey, kOutput, kJobId, kJobName, kJobDir, kAttempt, kUnits };
  enum class Function { kNone, kJson, kUrlencode, kShell };

  Source source = Source::kItem;
  Function function = Function::kNone;
  // The map (kItem, kIndex, kKey), the sibling (kOutput) or the semaphore (kUnits).
  int32_t subject = 0;
  // Path of fields below the value; empty for the value itself.
  std::vector<std::string> fields;
};

absl::StatusOr<Value> Evaluate(const Expression& expression, const Scope& scope);

// The text that replaces a call of `function` with `value` inside a longer string.
std::string Apply(Expression::Function function, const Value& value);

class Template {
 public:
  // Literal text before an expression; the last piece may have no expression.
  struct Piece {
    std::string literal;
    std::unique_ptr<const Expression> expression;
  };

  // The empty text.
  Template() = default;
  // `text` as it is, without any look for expressions.
  static Template Literal(std::string text);
  // `source` is what the user wrote, for messages.
  Template(std::string source, std::vector<Piece> pieces);

  // Copies of one are equal; two that were parsed apart are not, whatever they say.
  bool operator==(const Template&) const = default;

  // True if there is no expression: Expand then gives Source() and needs no particular scope.
  bool IsLiteral() const;
  const std::string& Source() const;
  const std::vector<Piece>& Pieces() const;

  // The text with every expression replaced.
  absl::StatusOr<std::string> Expand(const Scope& scope) const;
  // The value of a template that is exactly one expression, typed; else its text.
  absl::StatusOr<Value> Evaluate(const Scope& scope) const;

 private:
  struct Parsed {
    std::string source;
    std::vector<Piece> pieces;
  };
  std::shared_ptr<const Parsed> parsed_;  // null: the empty text
};

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_EXPRESSION_H_
