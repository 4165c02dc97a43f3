// ReadMemoryFiles: files of /proc that show the memory of other processes (cmdline, environ).
//
// Whoever reads one waits while that process's memory is locked, and a thread that hangs in the
// kernel (a frozen file system, a file server that is gone) can hold the lock for hours. So a child
// process reads; one that hangs itself is killed, which the kernel allows there.
//
// Thread safety: pure functions, also for a process of several threads: the child only makes system
// calls. It costs a fork of the caller's memory; where there can be no child, the caller reads
// what cannot hang.
#ifndef NURSERY_SERVER_WARDEN_MEMORY_FILES_H_
#define NURSERY_SERVER_WARDEN_MEMORY_FILES_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace nursery::warden {

// Calls `take` with its index and its text, cut off at `limit` bytes, for each of `paths`, those
// last of whose processes a thread hangs; the text is empty where it cannot be read. A file that
// hangs is left out, which takes a tenth of a second, and after `max_hanging` of them so is the
// rest.
void ReadMemoryFiles(const std::vector<std::string>& paths, size_t limit, size_t max_hanging,
                     const std::function<void(size_t, std::string)>& take);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_MEMORY_FILES_H_
