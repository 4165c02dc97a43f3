// The least that running COUNT processes can cost: starts /bin/true with at most AT_ONCE under way,
// waits for whichever ends first, and prints processes per second.
//
//   spawn_loop COUNT AT_ONCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  const int count = argc == 3 ? atoi(argv[1]) : 0;
  const int at_once = argc == 3 ? atoi(argv[2]) : 0;
  if (count < 1 || at_once < 1) {
    fputs("usage: spawn_loop COUNT AT_ONCE\n", stderr);
    return 2;
  }
  char* program[] = {"/bin/true", NULL};
  char* environment[] = {NULL};
  const double start = now();
  int running = 0;
  for (int started = 0; started < count || running > 0;) {
    pid_t pid;
    if (started < count && running < at_once) {
      if (posix_spawn(&pid, program[0], NULL, NULL, program, environment) != 0) return 1;
      ++started;
      ++running;
      continue;
    }
    int status = 0;
    if (wait(&status) < 0 || status != 0) return 1;
    --running;
  }
  printf("%.1f\n", count / (now() - start));
  return 0;
}
