#include "server/app/auth_files.h"

#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "nursery/core/status.h"
#include "server/rpc/auth.h"

namespace nursery::app {
namespace {

constexpr const char kCertificate[] = "auth.tls_certificate_file";
constexpr const char kKey[] = "auth.tls_key_file";
constexpr const char kClientCa[] = "auth.tls_client_ca_file";

absl::Status ReadPem(const char* field, const std::string& file, std::string* text) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Annotate(ErrnoError(errno, file), field);
  std::ostringstream read;
  read << stream.rdbuf();
  if (read.bad()) return Annotate(ErrnoError(errno, file), field);
  *text = std::move(read).str();
  return absl::OkStatus();
}

// What is missing beside what is named.
void CheckNamed(const v1::AuthConfig& config, std::vector<spec::Violation>* problems) {
  const bool certificate = !config.tls_certificate_file().empty();
  const bool key = !config.tls_key_file().empty();
  const auto add = [&](const char* field, const char* what) {
    problems->push_back({field, what, 0, 0});
  };
  if (certificate && !key) add(kCertificate, "needs tls_key_file beside it");
  if (key && !certificate) add(kKey, "needs tls_certificate_file beside it");
  if (config.tls_client_ca_file().empty() || certificate || key) return;
  add(kClientCa, "needs tls_certificate_file and tls_key_file beside it: without them no TLS");
}

}  // namespace

absl::StatusOr<std::optional<rpc::TlsFiles>> ReadTls(const v1::AuthConfig& config) {
  if (config.tls_certificate_file().empty()) return std::optional<rpc::TlsFiles>();
  rpc::TlsFiles files;
  NURSERY_RETURN_IF_ERROR(ReadPem(kCertificate, config.tls_certificate_file(), &files.certificate));
  NURSERY_RETURN_IF_ERROR(ReadPem(kKey, config.tls_key_file(), &files.key));
  if (!config.tls_client_ca_file().empty()) {
    NURSERY_RETURN_IF_ERROR(ReadPem(kClientCa, config.tls_client_ca_file(), &files.client_ca));
  }
  NURSERY_RETURN_IF_ERROR(rpc::CheckTls(files));
  return std::optional<rpc::TlsFiles>(std::move(files));
}

void CheckAuth(const v1::AuthConfig& config, std::vector<spec::Violation>* problems) {
  const size_t before = problems->size();
  CheckNamed(config, problems);
  if (problems->size() == before) {
    if (const absl::Status tls = ReadTls(config).status(); !tls.ok()) {
      const std::string text(Message(tls));
      const size_t colon = text.find(": ");
      problems->push_back({text.substr(0, colon), text.substr(colon + 2), 0, 0});
    }
  }
  if (config.token_file().empty()) return;
  if (const absl::Status tokens = rpc::Tokens::Read(config.token_file()).status(); !tokens.ok()) {
    problems->push_back({"auth.token_file", std::string(Message(tokens)), 0, 0});
  }
}

std::vector<std::string> RenewedTls(const std::optional<rpc::TlsFiles>& before,
                                    const std::optional<rpc::TlsFiles>& now) {
  const rpc::TlsFiles old_files = before.value_or(rpc::TlsFiles());
  const rpc::TlsFiles new_files = now.value_or(rpc::TlsFiles());
  std::vector<std::string> fields;
  if (old_files.certificate != new_files.certificate) fields.emplace_back(kCertificate);
  if (old_files.key != new_files.key) fields.emplace_back(kKey);
  if (old_files.client_ca != new_files.client_ca) fields.emplace_back(kClientCa);
  return fields;
}

}  // namespace nursery::app
