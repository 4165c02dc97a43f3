// Tokens: the bearer tokens that may speak to the server, from a file of mode 0600. A line is
// "TOKEN", "NAME TOKEN" or "NAME TOKEN SCOPE,SCOPE"; scopes are submit, read, cancel, admin, and
// all of them if none is said. Empty lines and those that begin with # are passed over.
//
// Thread safety: immutable; may be shared.
#ifndef NURSERY_SERVER_RPC_AUTH_H_
#define NURSERY_SERVER_RPC_AUTH_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/rpc/identity.h"

namespace nursery::rpc {

class Tokens {
 public:
  Tokens() = default;

  // PERMISSION_DENIED: others may read the file; INVALID_ARGUMENT: a line is wrong, and which.
  static absl::StatusOr<Tokens> Read(const std::string& file);
  // Reads `file`, or makes it with one token if there is none.
  static absl::StatusOr<Tokens> ReadOrMake(const std::string& file);
  static absl::StatusOr<Tokens> Parse(std::string_view text, std::string_view file);

  // UNAUTHENTICATED: it is none of them. `authorization` is the header, as in "Bearer TOKEN".
  absl::StatusOr<Identity> Identify(const std::string& authorization) const;
  bool empty() const { return tokens_.empty(); }

 private:
  struct Token {
    std::string token;
    Identity identity;
  };
  std::vector<Token> tokens_;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_AUTH_H_
