// ProcessSpec: everything that decides how one task process is started, and its encoding for the
// memfd that carries it to the warden.
//
// Thread safety: plain data and pure functions.
#ifndef NURSERY_SERVER_WARDEN_PROCESS_SPEC_H_
#define NURSERY_SERVER_WARDEN_PROCESS_SPEC_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/warden/tree_limits.h"

namespace nursery::warden {

// The kernel refuses argv and environment above 6 MiB in any configuration; the rest is slack, so
// that too big a list is refused by the kernel (E2BIG) and not by us.
inline constexpr size_t kMaxSpecBytes = size_t{8} << 20;

enum class Limit : uint8_t { kFiles, kCore, kFileSize, kCpuSeconds, kAddressSpace, kProcesses };
inline constexpr size_t kLimitCount = 6;
using Limits = std::array<std::optional<uint64_t>, kLimitCount>;

// Whose rights a process gets. Only root can give others than its own.
struct Account {
  bool operator==(const Account&) const = default;

  uid_t user = 0;
  gid_t group = 0;
  std::vector<gid_t> groups;  // supplementary
};

struct ProcessSpec {
  // argv[0] names the program: looked up in the PATH of `env` when it has no slash, relative to
  // `cwd` otherwise. No shell is involved.
  std::vector<std::string> argv;
  // The whole environment, as "NAME=value".
  std::vector<std::string> env;
  std::string cwd = "/";
  // A limit that is not set is the one the server itself was started with.
  Limits limits;
  // Of everything it starts together. What does not hold where it runs is told at its end.
  TreeLimits tree_limits;
  // Unset: that of the server.
  std::optional<Account> account;
  int nice = 0;  // added to the server's own
  uint32_t umask = 022;
  bool no_new_privs = true;
};

// What DecodeSpec gives: pointers into the encoded bytes, which must outlive it. Both lists end
// with a null pointer, as execve wants them.
struct SpecView {
  std::vector<char*> argv;
  std::vector<char*> env;
  const char* cwd = nullptr;
  Limits limits;
  TreeLimits tree_limits;
  std::optional<Account> account;
  int nice = 0;
  uint32_t umask = 0;
  bool no_new_privs = true;
};

// The reason why `spec` cannot be encoded, or an empty string.
std::string ValidateSpec(const ProcessSpec& spec);

// Requires ValidateSpec(spec).empty().
std::string EncodeSpec(const ProcessSpec& spec);

// nullopt if `bytes` is not exactly what EncodeSpec makes. Never reads outside `bytes`.
std::optional<SpecView> DecodeSpec(std::span<char> bytes);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_PROCESS_SPEC_H_
