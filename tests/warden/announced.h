// What an escapee (escapee.cc) starts, as it announces itself.
#ifndef NURSERY_TESTS_WARDEN_ANNOUNCED_H_
#define NURSERY_TESTS_WARDEN_ANNOUNCED_H_

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "server/warden/process_spec.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {

// How many processes announce themselves per shape.
extern const std::map<std::string, int> kShapes;
// Those whose processes are replaced by others all the time.
extern const std::set<std::string> kEndless;

// An escapee under its mark. The setuid program of the shape `setuid` is that of $SETUID.
ProcessSpec EscapeeSpec(const std::string& shape, const std::string& mark);

// The task's processes as they announced themselves; each was seen alive under its mark.
class Announced {
 public:
  // Reads `count` pids from the task's stdout.
  bool Read(int fd, int count, const std::string& mark);

  // Whether all that `shape` promises were seen alive, and are.
  bool AllAlive(const std::string& shape) const;
  const std::vector<pid_t>& pids() const { return pids_; }
  // Waits until no more than `count` are alive; false if that does not come.
  bool AwaitAtMost(size_t count) const;
  // Those that have not ended, without waiting.
  std::vector<pid_t> Survivors() const;

 private:
  std::vector<pid_t> pids_;
  std::vector<UniqueFd> pidfds_;
  int alive_ = 0;
};

}  // namespace nursery::warden

#endif  // NURSERY_TESTS_WARDEN_ANNOUNCED_H_
