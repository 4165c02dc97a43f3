// UniqueFd: owns one file descriptor and closes it.
//
// Thread safety: none. Lifetime: movable; empty after a move.
#ifndef NURSERY_SERVER_WARDEN_UNIQUE_FD_H_
#define NURSERY_SERVER_WARDEN_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace nursery::warden {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_UNIQUE_FD_H_
