#include "server/app/accounts.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "nursery/core/status.h"

namespace nursery::app {
namespace {

// More than any entry of the database takes.
constexpr size_t kEntryBytes = size_t{1} << 16;

std::vector<gid_t> GroupsOf(const passwd& entry) {
  int count = 32;
  std::vector<gid_t> groups(static_cast<size_t>(count));
  if (getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<size_t>(count));
    getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count);
  }
  groups.resize(static_cast<size_t>(count));
  return groups;
}

}  // namespace

absl::StatusOr<actions::Account> FindAccount(const std::string& name) {
  std::vector<char> buffer(kEntryBytes);
  passwd entry = {};
  passwd* found = nullptr;
  const int error = getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0) return ErrnoError(error, "cannot look up the account '" + name + "'");
  if (found == nullptr) {
    return Error(absl::StatusCode::kNotFound, "there is no account '" + name + "' here");
  }
  actions::Account account;
  account.ids = {entry.pw_uid, entry.pw_gid, GroupsOf(entry)};
  account.home = entry.pw_dir;
  return account;
}

absl::StatusOr<std::map<std::string, actions::Account>> AccountsOf(const v1::ServerConfig& config) {
  std::map<std::string, actions::Account> accounts;
  for (const std::string& name : config.exec().users()) {
    absl::StatusOr<actions::Account> account = FindAccount(name);
    if (!account.ok()) return Annotate(account.status(), "exec.users");
    accounts[name] = *std::move(account);
  }
  return accounts;
}

std::string WhyNotAsOthers(const v1::ServerConfig& config) {
  if (config.exec().users().empty() || geteuid() == 0) return "";
  return "only root can run programs as others; this is uid " + std::to_string(geteuid()) +
         ": leave it out, or run as root";
}

void CheckAccounts(const v1::ServerConfig& config, std::vector<spec::Violation>* problems) {
  std::set<std::string> names;
  for (int i = 0; i < config.exec().users_size(); ++i) {
    const std::string& name = config.exec().users(i);
    const std::string path = "exec.users[" + std::to_string(i) + "]";
    if (!names.insert(name).second) problems->push_back({path, "is there twice", 0, 0});
    const absl::StatusOr<actions::Account> account = FindAccount(name);
    if (!account.ok()) problems->push_back({path, std::string(Message(account.status())), 0, 0});
  }
}

}  // namespace nursery::app
