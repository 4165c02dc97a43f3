// Accounts: those of this machine that jobs may run programs as.
//
// Thread safety: any thread. Asks the system's user database, which may take its time.
#ifndef NURSERY_SERVER_APP_ACCOUNTS_H_
#define NURSERY_SERVER_APP_ACCOUNTS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/v1/config.pb.h"
#include "server/actions/exec.h"
#include "server/spec/violation.h"

namespace nursery::app {

// NOT_FOUND: there is none of that name.
absl::StatusOr<actions::Account> FindAccount(const std::string& name);

// Those of exec.users.
absl::StatusOr<std::map<std::string, actions::Account>> AccountsOf(const v1::ServerConfig& config);

// Adds what is wrong with exec.users: one that is not there.
void CheckAccounts(const v1::ServerConfig& config, std::vector<spec::Violation>* problems);

// Why this process cannot run programs as those of exec.users; empty: it can, or there are none.
std::string WhyNotAsOthers(const v1::ServerConfig& config);

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_ACCOUNTS_H_
