// The limit of open descriptors, which for this process may be as high as allowed, and for what it
// starts stays what it was.
//
// Thread safety: any thread.
#ifndef NURSERY_SERVER_WARDEN_FILE_LIMIT_H_
#define NURSERY_SERVER_WARDEN_FILE_LIMIT_H_

#include <sys/resource.h>

namespace nursery::warden {

// Raises it to the hard limit; gives the one before, 0: not known, and not raised.
inline rlim_t RaiseFileLimit() {
  rlimit files = {};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  const rlim_t before = files.rlim_cur;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  return before;
}

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_FILE_LIMIT_H_
