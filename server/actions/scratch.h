// Scratch directories: one of its own for each attempt. One that comes back as it was given out
// serves the next attempt, since to make a directory and to remove it may take longer than the
// attempt itself.
//
// Thread safety: Scratch: any thread; ScratchDirectory: one task.
//
//   Scratch scratch("/var/lib/nursery/scratch");
//   ScratchDirectory directory;
//   NURSERY_RETURN_IF_ERROR(directory.Make(&scratch, std::nullopt));
//   // ... whoever used it is gone:
//   if (!directory.TryReuse()) directory.Remove();
#ifndef NURSERY_SERVER_ACTIONS_SCRATCH_H_
#define NURSERY_SERVER_ACTIONS_SCRATCH_H_

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nursery/core/clock.h"
#include "nursery/core/mutex.h"
#include "server/warden/process_spec.h"

namespace nursery::actions {

class Scratch {
 public:
  // So many that were used lie there, empty, until somebody needs one.
  static constexpr size_t kMaxSpare = 64;
  // An attempt does not end before its directory is removed, but waits no longer than this. What is
  // left then goes when others are removed, or with the next start.
  static constexpr Duration kMostRemoval = std::chrono::seconds(1);
  static constexpr size_t kMaxUnfinished = 64;

  // `parent` is where they are made, a directory.
  explicit Scratch(std::string parent) : parent_(std::move(parent)) {}
  // Removes those that nobody uses.
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

 private:
  friend class ScratchDirectory;

  // An empty one that nobody uses, of mode 0700.
  absl::StatusOr<std::string> Take();
  std::optional<std::string> TakeSpare() NURSERY_EXCLUDES(mutex_);
  // Keeps it for the next one if it is as new.
  bool GiveBack(const std::string& path) NURSERY_EXCLUDES(mutex_);
  void Remove(const std::string& path) NURSERY_EXCLUDES(mutex_);
  void RemoveUntil(const std::string& path, Time until) NURSERY_EXCLUDES(mutex_);

  const std::string parent_;
  Mutex mutex_;
  std::vector<std::string> spare_ NURSERY_GUARDED_BY(mutex_);
  std::deque<std::string> unfinished_ NURSERY_GUARDED_BY(mutex_);
};

// Removed, with all that is in it, when it dies, unless it was before.
class ScratchDirectory {
 public:
  ScratchDirectory() = default;
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory();

  // Of `owner`, if there is one. `from` outlives it.
  absl::Status Make(Scratch* from, const std::optional<warden::Account>& owner);
  // Nobody who knew it is left: if it is as new it serves another attempt. False if it is not.
  bool TryReuse();
  // Blocks, for kMostRemoval.
  void Remove();
  // Empty: it was not made, or is gone.
  const std::string& path() const { return path_; }

 private:
  Scratch* from_ = nullptr;
  std::string path_;
};

}  // namespace nursery::actions

#endif  // NURSERY_SERVER_ACTIONS_SCRATCH_H_
