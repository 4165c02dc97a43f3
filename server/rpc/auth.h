// Tokens: the bearer tokens that may speak to the server, from a file of mode 0600. A line is
// "TOKEN", "NAME TOKEN" or "NAME TOKEN SCOPE,SCOPE"; scopes are submit, read, cancel, admin, and
// all of them if none is said. Empty lines and those that begin with # are passed over.
//
// Thread safety: immutable; may be shared.
#ifndef NURSERY_SERVER_RPC_AUTH_H_
#define NURSERY_SERVER_RPC_AUTH_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/mutex.h"
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

// The tokens that count now. They are replaced as a whole, for calls that come later.
//
// Thread safety: any thread.
class CurrentTokens {
 public:
  explicit CurrentTokens(Tokens tokens) : tokens_(std::move(tokens)) {}

  void Replace(Tokens tokens) NURSERY_EXCLUDES(mutex_);
  absl::StatusOr<Identity> Identify(const std::string& authorization) const
      NURSERY_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  Tokens tokens_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_AUTH_H_
