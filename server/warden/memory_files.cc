#include "server/warden/memory_files.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <optional>
#include <utility>

#include "server/warden/process_tree.h"
#include "server/warden/unique_fd.h"

namespace nursery::warden {
namespace {

// When nothing has come for so long the child is looked at. Found hanging in the kernel twice in a
// row it is given up; a machine that is only busy leaves it runnable.
constexpr int kLookAfterMilliseconds = 50;
constexpr int kMaxLooks = 2;
// The parts of a file and then one without bytes, which ends it.
struct Part {
  size_t file;  // of those that are to be read
  char bytes[4096];
};
constexpr size_t kHeader = sizeof(Part) - sizeof(Part::bytes);

// Only system calls: other threads of the parent may have held any lock.
[[noreturn]] void ReadAsChild(int socket, pid_t parent, const std::vector<std::string>& paths,
                              size_t first, size_t limit) {
  // It may hang, and must hold nothing meanwhile that somebody waits for.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || dup2(socket, 0) != 0) _exit(1);
  close_range(1, ~0u, 0);
  Part part;
  for (part.file = first; part.file < paths.size(); ++part.file) {
    const int fd = open(paths[part.file].c_str(), O_RDONLY | O_CLOEXEC);
    for (size_t left = limit; fd >= 0 && left > 0;) {
      const ssize_t size = read(fd, part.bytes, std::min(sizeof(part.bytes), left));
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) break;
      left -= static_cast<size_t>(size);
      send(0, &part, kHeader + static_cast<size_t>(size), MSG_NOSIGNAL);
    }
    if (fd >= 0) close(fd);
    send(0, &part, kHeader, MSG_NOSIGNAL);
  }
  _exit(0);
}

bool HangsInKernel(pid_t pid) {
  const std::optional<ProcessInfo> process = ReadProcess(pid);
  return process && process->state == 'D';
}

// The size of the next part; nothing: the child has ended, or hangs.
std::optional<size_t> Receive(int socket, pid_t child, Part* part) {
  for (int looks = 0; looks < kMaxLooks;) {
    pollfd readable = {socket, POLLIN, 0};
    const int ready = poll(&readable, 1, kLookAfterMilliseconds);
    if (ready == 0) looks = HangsInKernel(child) ? looks + 1 : 0;
    if (ready != 1) continue;
    const ssize_t size = recv(socket, part, sizeof(*part), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < static_cast<ssize_t>(kHeader)) return std::nullopt;
    return static_cast<size_t>(size) - kHeader;
  }
  return std::nullopt;
}

using Take = std::function<void(size_t, std::string)>;

// Where there can be no child: those of which no thread hangs, which are the first `safe`.
size_t ReadHere(const std::vector<std::string>& paths, size_t first, size_t safe, size_t limit,
                const Take& take) {
  for (; first < safe; ++first) take(first, ReadSmallFile(paths[first], limit));
  return first;
}

// From `first` on, to the end or to one that hangs. Gives the first that was not read.
size_t ReadByChild(const std::vector<std::string>& paths, size_t first, size_t safe, size_t limit,
                   const Take& take) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return ReadHere(paths, first, safe, limit, take);
  }
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return ReadHere(paths, first, safe, limit, take);
  if (child == 0) ReadAsChild(theirs.get(), parent, paths, first, limit);
  theirs.reset();
  std::string text;
  Part part;
  while (const std::optional<size_t> size = Receive(ours.get(), child, &part)) {
    text.append(part.bytes, *size);
    if (*size > 0) continue;
    take(part.file, std::exchange(text, {}));
    first = part.file + 1;
  }
  kill(child, SIGKILL);
  while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  return first;
}

// Whether a thread of the process hangs in the kernel, of which, or of one of whose threads, `path`
// is a file.
bool MayHang(const std::string& path) {
  const std::string tasks =
      path.substr(0, std::min(path.rfind('/'), path.find("/task/"))) + "/task";
  for (const pid_t thread : NumbersIn(tasks)) {
    const std::optional<ProcessInfo> process = ReadProcess(thread, tasks);
    if (process && process->state == 'D') return true;
  }
  return false;
}

}  // namespace

void ReadMemoryFiles(const std::vector<std::string>& paths, size_t limit, size_t max_hanging,
                     const Take& take) {
  std::vector<size_t> order;
  std::vector<size_t> last;
  for (size_t i = 0; i < paths.size(); ++i) (MayHang(paths[i]) ? last : order).push_back(i);
  const size_t safe = order.size();
  order.insert(order.end(), last.begin(), last.end());
  std::vector<std::string> ordered;
  for (const size_t i : order) ordered.push_back(paths[i]);
  const Take take_ordered = [&](size_t i, std::string text) { take(order[i], std::move(text)); };
  size_t next = 0;
  for (size_t hanging = 0; next < ordered.size() && hanging < max_hanging; ++hanging) {
    next = ReadByChild(ordered, next, safe, limit, take_ordered) + 1;
  }
}

}  // namespace nursery::warden
