// How fast processes come and go through the warden, against a bare loop: spawn_bench [COUNT]. Not
// a test; prints its figures.
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "tests/warden/test_client.h"

namespace {

using nursery::warden::PacketType;
using nursery::warden::TestClient;

constexpr char kProgram[] = "/bin/true";

template <typename F>
double PerSecond(int count, F f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return count / time.count();
}

// Spawns and waits with `window` processes under way.
void BareLoop(int count, size_t window) {
  std::deque<pid_t> running;
  char* argv[] = {const_cast<char*>(kProgram), nullptr};
  char* env[] = {nullptr};
  for (int i = 0; i < count || !running.empty(); ++i) {
    if (i < count) posix_spawn(&running.emplace_back(), kProgram, nullptr, nullptr, argv, env);
    if (i < count && running.size() < window) continue;
    waitpid(running.front(), nullptr, 0);
    running.pop_front();
  }
}

void WardenLoop(TestClient* client, int count, size_t window) {
  std::deque<uint64_t> running;
  nursery::warden::ProcessSpec spec;
  spec.argv = {kProgram};
  for (int i = 0; i < count || !running.empty(); ++i) {
    if (i < count) running.push_back(client->Spawn(spec));
    if (i < count && running.size() < window) continue;
    if (!client->Await(PacketType::kGone, running.front())) std::abort();
    if (!client->Await(PacketType::kSpawned, running.front())) std::abort();
    if (!client->Await(PacketType::kExited, running.front())) std::abort();
    running.pop_front();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 1000;
  const auto start = std::chrono::steady_clock::now();
  TestClient client;
  client.Await(PacketType::kHello);
  const std::chrono::duration<double, std::milli> ready = std::chrono::steady_clock::now() - start;
  std::printf("warden ready after %.1f ms\n", ready.count());
  for (const size_t window : {1, 4, 32}) {
    const double bare = PerSecond(count, [&] { BareLoop(count, window); });
    const double warden = PerSecond(count, [&] { WardenLoop(&client, count, window); });
    std::printf("%2zu under way: bare %.0f/s, warden %.0f/s, ratio %.2f\n", window, bare, warden,
                warden / bare);
  }
}
