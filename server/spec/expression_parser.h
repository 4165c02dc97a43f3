// From the text a user wrote to a Template: finds the expressions, resolves their names, replaces
// parameters by their values.
//
// Thread safety: pure function.
#ifndef NURSERY_SERVER_SPEC_EXPRESSION_PARSER_H_
#define NURSERY_SERVER_SPEC_EXPRESSION_PARSER_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/spec/expression.h"

namespace nursery::spec {

// What names mean at one place of the tree. Errors are sentences about the name.
class NameResolver {
 public:
  virtual ~NameResolver() = default;
  // The enclosing map whose item is called `name`.
  virtual std::optional<NodeIndex> MapOfItem(std::string_view name) const = 0;
  // The nearest enclosing map.
  virtual std::optional<NodeIndex> InnermostMap() const = 0;
  // Nothing: no such need. An error: it is one, but has no output to use.
  virtual absl::StatusOr<std::optional<NodeIndex>> Output(std::string_view name) const = 0;
  virtual absl::StatusOr<std::string> Param(std::string_view name) const = 0;
  // The number of a semaphore that is held here and has units.
  virtual absl::StatusOr<int> Units(std::string_view name) const = 0;
};

absl::StatusOr<Template> ParseTemplate(std::string_view text, const NameResolver& names);

}  // namespace nursery::spec

#endif  // NURSERY_SERVER_SPEC_EXPRESSION_PARSER_H_
