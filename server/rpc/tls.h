// What a server proves its name with, and whom it asks to do the same.
//
// Thread safety: values and a pure function.
#ifndef NURSERY_SERVER_RPC_TLS_H_
#define NURSERY_SERVER_RPC_TLS_H_

#include <string>

#include "absl/status/status.h"

namespace nursery::rpc {

// PEM texts.
struct TlsFiles {
  std::string certificate;
  std::string key;
  std::string client_ca;  // empty: no client certificates are asked for
};

// gRPC would take anything, and then fail each handshake. INVALID_ARGUMENT: what is wrong.
absl::Status CheckTls(const TlsFiles& files);

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_TLS_H_
