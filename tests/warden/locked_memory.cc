// A task process whose memory stays locked: locked_memory FILE MARK.
//
// It maps FILE and waits for the end of its stdin. If the file system is frozen by then, one thread
// hangs in the kernel when it writes to the mapping, and the other when it unmaps that: whoever
// wants to read its memory, as its command line, waits for both.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>

namespace {

constexpr size_t kSize = 4096;
// Whatever goes wrong, no process of a test outlives this.
constexpr unsigned kLongestLife = 60;

char* mapping = nullptr;
std::atomic<pid_t> writer = 0;

void* Write(void* /*unused*/) {
  writer = gettid();
  mapping[0] = 1;
  return nullptr;
}

bool Hangs(pid_t thread) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/stat";
  FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return false;
  char state = '?';
  const int found = std::fscanf(file, "%*d %*s %c", &state);
  std::fclose(file);
  return found == 1 && state == 'D';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  alarm(kLongestLife);
  const int fd = open(argv[1], O_RDWR);
  mapping = static_cast<char*>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  if (fd < 0 || mapping == MAP_FAILED) return 3;
  // A page that is there is locked for the write alone.
  static_cast<void>(*static_cast<volatile char*>(mapping));
  char ignored;
  while (read(STDIN_FILENO, &ignored, 1) > 0) {
  }
  pthread_t thread;
  if (pthread_create(&thread, nullptr, Write, nullptr) != 0) return 4;
  while (!Hangs(writer)) {
  }
  munmap(mapping, kSize);
  while (true) pause();
}
