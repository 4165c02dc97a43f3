// DataDir: the directory of one server, held by a lock that its warden inherits: a new server waits
// until everything that the old one started is gone, and kills what nobody is left to kill.
//
// Thread safety: one thread. Lifetime: the lock is held as long as it lives, or a copy of its
// descriptor does.
#ifndef NURSERY_SERVER_APP_DATA_DIR_H_
#define NURSERY_SERVER_APP_DATA_DIR_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/warden/leftovers.h"

namespace nursery::app {

class DataDir {
 public:
  // Makes the directory if there is none, and kills what an earlier server has left alive.
  // ALREADY_EXISTS: a server that lives uses it; DEADLINE_EXCEEDED: one that is gone still has
  // processes that will not die.
  static absl::StatusOr<DataDir> Open(const std::string& path);

  DataDir(DataDir&& other) noexcept;
  DataDir& operator=(DataDir&&) = delete;
  ~DataDir();

  // Processes of other accounts may pass through it to the directories that are theirs, and see no
  // more of it.
  absl::Status LetOthersThrough() const;

  // What others than the server's own account can do with it that they should not; empty: nothing.
  // It is not changed: it may be one that others use, as /tmp.
  std::string OpenToOthers() const;

  // Absolute, as all below.
  const std::string& path() const { return path_; }
  // For the warden to hold.
  int lock_fd() const { return lock_; }
  // Where attempts and jobs get directories; emptied at every start.
  std::string scratch() const { return path_ + "/scratch"; }
  std::string token_file() const { return path_ + "/token"; }
  // By which the processes of all servers of this directory are found.
  const warden::Instance& instance() const { return instance_; }

 private:
  DataDir(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  absl::Status ReadInstance();

  std::string path_;
  int lock_;
  warden::Instance instance_;
};

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_DATA_DIR_H_
