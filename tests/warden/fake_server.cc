// A server that starts a warden and one task, and is there to be killed: fake_server SHAPE LEVEL.
// The mark comes in $MARK, so that a search in argv does not find this process.
//
// Descriptors: 0 and 1 are the task's stdin and stdout, 3 is held by the warden, 4 takes the
// warden's pid and its cgroup.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/warden/announced.h"
#include "tests/warden/test_client.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  // Leaked on purpose: this process never ends in an orderly way.
  auto* client = new nursery::warden::TestClient({3}, nursery::warden::LevelOf(argv[2]));
  dprintf(4, "%d %s\n", client->warden().pid, client->run_cgroup().c_str());
  client->Spawn(nursery::warden::EscapeeSpec(argv[1], std::getenv("MARK")),
                {STDIN_FILENO, STDOUT_FILENO, -1});
  while (true) pause();
}
