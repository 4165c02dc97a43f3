// Identity: who calls, and what they may do.
//
// Thread safety: values.
#ifndef NURSERY_SERVER_RPC_IDENTITY_H_
#define NURSERY_SERVER_RPC_IDENTITY_H_

#include <cstdint>
#include <string>

namespace nursery::rpc {

// What a method needs; a set of them is what an identity has.
enum Scope : uint8_t {
  kNoScope = 0,  // health and reflection: for everybody
  kSubmit = 1,
  kRead = 2,
  kCancel = 4,
  kAdmin = 8,
  kAllScopes = kSubmit | kRead | kCancel | kAdmin,
};

struct Identity {
  std::string name;  // as in audit lines: "alice", "local", "embedded"
  uint8_t scopes = kNoScope;
  // On this machine, over a socket that only its owner can open: its paths are ours.
  bool is_local = false;
  // All but the process itself, which need not account to itself.
  bool is_audited = true;
};

}  // namespace nursery::rpc

#endif  // NURSERY_SERVER_RPC_IDENTITY_H_
