#include "server/rpc/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "nursery/core/status.h"

namespace nursery::rpc {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio Open(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

// Nobody is there to type a password.
int NoPassword(char*, int, int, void*) { return -1; }

Certificate ReadCertificate(const std::string& text) {
  const Bio bio = Open(text);
  return {PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr), X509_free};
}

absl::Status Wrong(const char* field, const char* what) {
  ERR_clear_error();
  return Error(absl::StatusCode::kInvalidArgument, std::string("auth.") + field + ": " + what);
}

}  // namespace

absl::Status CheckTls(const TlsFiles& files) {
  const Certificate certificate = ReadCertificate(files.certificate);
  if (certificate == nullptr) return Wrong("tls_certificate_file", "holds no certificate in PEM");
  const Bio bio = Open(files.key);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr), EVP_PKEY_free);
  if (key == nullptr) return Wrong("tls_key_file", "holds no key in PEM, or one with a password");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Wrong("tls_key_file", "is not the key of the certificate");
  }
  if (!files.client_ca.empty() && ReadCertificate(files.client_ca) == nullptr) {
    return Wrong("tls_client_ca_file", "holds no certificate in PEM");
  }
  return absl::OkStatus();
}

}  // namespace nursery::rpc
