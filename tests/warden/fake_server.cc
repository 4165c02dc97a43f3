// A server that starts a warden and one task, and is there to be killed: fake_server SHAPE. The
// mark comes in $MARK, so that a search in argv does not find this process.
//
// Descriptors: 0 and 1 are the task's stdin and stdout, 3 is held by the warden, 4 takes the
// warden's pid.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/warden/test_client.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  // Leaked on purpose: this process never ends in an orderly way.
  auto* client = new nursery::warden::TestClient({3});
  dprintf(4, "%d\n", client->warden().pid);
  nursery::warden::ProcessSpec spec;
  spec.argv = {nursery::warden::BuiltBinary("../tests/escapee"), argv[1], std::getenv("MARK")};
  client->Spawn(spec, {STDIN_FILENO, STDOUT_FILENO, -1});
  while (true) pause();
}
