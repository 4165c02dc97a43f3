// What an instance of the server left alive when it was killed together with its warden and
// reapers: the cgroups that it had noted down, and processes that carry its mark.
//
// Thread safety: one thread.
#ifndef NURSERY_SERVER_WARDEN_LEFTOVERS_H_
#define NURSERY_SERVER_WARDEN_LEFTOVERS_H_

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace nursery::warden {

struct Instance {
  std::string id;      // in the mark of its processes; empty: they have none
  std::string record;  // the file that lists its cgroups, one a line; empty: none
};

// "4711 sh -c ...", of each process that is alive. Never this process or one above it.
std::vector<std::string> FindLeftovers(const Instance& instance);

// Kills them, until none is left, and removes the cgroups and the record. Nobody may be starting
// processes for that instance. DEADLINE_EXCEEDED: the message names those who are alive still.
absl::Status SweepLeftovers(const Instance& instance, std::chrono::milliseconds patience);

// To be called before a process is started there.
absl::Status NoteCgroup(const std::string& record, const std::string& path);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_LEFTOVERS_H_
