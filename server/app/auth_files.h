// The files that `auth` of the configuration names: read, and checked as far as a start would.
//
// Thread safety: pure functions, but for reading files.
#ifndef NURSERY_SERVER_APP_AUTH_FILES_H_
#define NURSERY_SERVER_APP_AUTH_FILES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/v1/config.pb.h"
#include "server/rpc/tls.h"
#include "server/spec/violation.h"

namespace nursery::app {

// Nothing: there is no TLS. An error's message starts with the field, as in "auth.tls_key_file: ".
absl::StatusOr<std::optional<rpc::TlsFiles>> ReadTls(const v1::AuthConfig& config);

// Adds what is wrong with the files and with which of them are named.
void CheckAuth(const v1::AuthConfig& config, std::vector<spec::Violation>* problems);

// The fields whose files hold another text in `now` than in `before`.
std::vector<std::string> RenewedTls(const std::optional<rpc::TlsFiles>& before,
                                    const std::optional<rpc::TlsFiles>& now);

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_AUTH_FILES_H_
