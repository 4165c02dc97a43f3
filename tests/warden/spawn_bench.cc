// How fast processes come and go through the warden, against a bare loop: spawn_bench [COUNT [LEVEL
// [GIGABYTES]]]. The two take turns, so that both see the same machine; the server's process has so
// much memory resident. Not a test; prints its figures as JSON, of both: milliseconds for one at a
// time, and processes per second with some under way.
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

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

double Percentile(std::vector<double> times, double share) {
  std::sort(times.begin(), times.end());
  return times[static_cast<size_t>(static_cast<double>(times.size() - 1) * share)];
}

void TakeTurns(TestClient* client, int count) {
  std::vector<double> bare;
  std::vector<double> warden;
  for (int i = 0; i < count; ++i) {
    bare.push_back(1e3 / PerSecond(1, [] { BareLoop(1, 1); }));
    warden.push_back(1e3 / PerSecond(1, [client] { WardenLoop(client, 1, 1); }));
  }
  for (const int percent : {50, 99}) {
    std::printf(", \"p%d_ms\": [%.4f, %.4f]", percent, Percentile(warden, percent / 100.0),
                Percentile(bare, percent / 100.0));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int count = std::max(1, argc > 1 ? std::atoi(argv[1]) : 1000);
  const auto level = argc > 2 ? nursery::warden::LevelOf(argv[2]) : nursery::warden::Level::kNone;
  const size_t gigabytes = argc > 3 ? static_cast<size_t>(std::atoi(argv[3])) : 0;
  const std::string resident(gigabytes << 30, 'x');
  TestClient client({}, level);
  const auto hello = client.Await(PacketType::kHello);
  if (!hello) return 1;
  const auto reached = static_cast<nursery::warden::Level>(hello->detail);
  if (reached == nursery::warden::Level::kNone) return 1;
  std::printf("{\"level\": \"%s\", \"resident_gib\": %zu",
              std::string(nursery::warden::LevelName(reached)).c_str(), resident.size() >> 30);
  TakeTurns(&client, count);
  for (const size_t window : {1, 4, 32}) {
    const double bare = PerSecond(count, [&] { BareLoop(count, window); });
    const double warden = PerSecond(count, [&] { WardenLoop(&client, count, window); });
    std::printf(", \"rate_of_%zu\": [%.1f, %.1f]", window, warden, bare);
  }
  std::printf("}\n");
}
