#include "server/rpc/auth.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <sstream>

#include "nursery/core/status.h"
#include "server/rpc/errors.h"

namespace nursery::rpc {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kMinTokenLength = 16;
constexpr size_t kMaxFileBytes = 1 << 20;

std::optional<uint8_t> ScopeNamed(std::string_view name) {
  if (name == "submit") return kSubmit;
  if (name == "read") return kRead;
  if (name == "cancel") return kCancel;
  if (name == "admin") return kAdmin;
  return std::nullopt;
}

std::optional<uint8_t> ScopesOf(const std::string& text) {
  uint8_t scopes = kNoScope;
  std::istringstream names(text);
  for (std::string name; std::getline(names, name, ',');) {
    const std::optional<uint8_t> scope = ScopeNamed(name);
    if (!scope) return std::nullopt;
    scopes |= *scope;
  }
  return scopes;
}

// Takes the same time for every token of the same length.
bool SameSecret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

std::string NewToken() {
  static constexpr char kDigits[] = "0123456789abcdef";
  unsigned char bytes[kTokenBytes];
  std::string token;
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return token;
  for (const unsigned char byte : bytes) token += {kDigits[byte >> 4], kDigits[byte & 15]};
  return token;
}

absl::Status WrongLine(std::string_view file, int line, const std::string& problem) {
  return Error(absl::StatusCode::kInvalidArgument,
               std::string(file) + ":" + std::to_string(line) + ": " + problem);
}

}  // namespace

absl::StatusOr<Tokens> Tokens::Parse(std::string_view text, std::string_view file) {
  Tokens tokens;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) words.push_back(word);
    if (words.empty() || words[0].starts_with('#')) continue;
    if (words.size() > 3) return WrongLine(file, number, "more than NAME TOKEN SCOPES");
    Token token;
    token.identity.name = words.size() == 1 ? "token" + std::to_string(number) : words[0];
    token.token = words.size() == 1 ? words[0] : words[1];
    token.identity.scopes = kAllScopes;
    if (token.token.size() < kMinTokenLength) {
      return WrongLine(file, number,
                       "a token has at least " + std::to_string(kMinTokenLength) + " characters");
    }
    if (words.size() == 3) {
      const std::optional<uint8_t> scopes = ScopesOf(words[2]);
      if (!scopes) {
        return WrongLine(file, number, "scopes are submit, read, cancel, admin, with commas");
      }
      token.identity.scopes = *scopes;
    }
    tokens.tokens_.push_back(std::move(token));
  }
  return tokens;
}

absl::StatusOr<Tokens> Tokens::Read(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError(errno, "cannot read the token file " + file);
  struct stat status = {};
  fstat(fd, &status);
  std::string text(kMaxFileBytes, '\0');
  const ssize_t size = read(fd, text.data(), text.size());
  close(fd);
  if (size < 0) return ErrnoError(errno, "cannot read the token file " + file);
  if ((status.st_mode & 077) != 0) {
    return Error(absl::StatusCode::kPermissionDenied,
                 "others may read the token file " + file + "; chmod 600 it");
  }
  return Parse(std::string_view(text).substr(0, static_cast<size_t>(size)), file);
}

absl::StatusOr<Tokens> Tokens::ReadOrMake(const std::string& file) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 && errno != EEXIST) return ErrnoError(errno, "cannot make the token file " + file);
  if (fd >= 0) {
    const std::string line = NewToken() + "\n";
    const bool written = write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    const int error = errno;
    close(fd);
    if (!written) return ErrnoError(error, "cannot write the token file " + file);
  }
  return Read(file);
}

absl::StatusOr<Identity> Tokens::Identify(const std::string& authorization) const {
  constexpr std::string_view kBearer = "Bearer ";
  if (authorization.starts_with(kBearer)) {
    const std::string_view secret = std::string_view(authorization).substr(kBearer.size());
    for (const Token& each : tokens_) {
      if (SameSecret(each.token, secret)) return each.identity;
    }
  }
  const std::string problem =
      authorization.empty() ? "a bearer token is needed over TCP" : "the bearer token is not known";
  return WithReason(Error(absl::StatusCode::kUnauthenticated, problem),
                    v1::ERROR_REASON_UNAUTHENTICATED);
}

void CurrentTokens::Replace(Tokens tokens) {
  MutexLock lock(mutex_);
  tokens_ = std::move(tokens);
}

absl::StatusOr<Identity> CurrentTokens::Identify(const std::string& authorization) const {
  MutexLock lock(mutex_);
  return tokens_.Identify(authorization);
}

}  // namespace nursery::rpc
