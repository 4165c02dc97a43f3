// A real nurseryd on a unix socket in a directory of its own, which ends with the object.
#ifndef NURSERY_TESTS_CLIENT_SERVER_PROCESS_H_
#define NURSERY_TESTS_CLIENT_SERVER_PROCESS_H_

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace nursery::client {

class ServerProcess {
 public:
  // Returns once the server answers.
  ServerProcess();
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Without a chance to say goodbye. Returns once nothing of it is alive.
  void Kill();

  std::string address() const { return "unix:" + (directory_ / "socket").string(); }
  const std::filesystem::path& directory() const { return directory_; }

 private:
  void End(int signal);

  std::filesystem::path directory_;
  pid_t pid_ = 0;  // 0: ended
};

}  // namespace nursery::client

#endif  // NURSERY_TESTS_CLIENT_SERVER_PROCESS_H_
