#include "server/app/parts.h"

#include <poll.h>
#include <sys/random.h>

#include "nursery/core/check.h"
#include "nursery/core/status.h"
#include "server/engine/limits.h"

namespace nursery::app {
namespace {

uint64_t RandomSeed() {
  uint64_t seed = 0;
  NURSERY_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

v1::Containment ContainmentOf(const warden::ProcessHost& host) {
  switch (host.stats().level) {
    case warden::Level::kNone:
      return v1::CONTAINMENT_UNSPECIFIED;
    case warden::Level::kGroup:
      return v1::CONTAINMENT_GROUP;
    case warden::Level::kSubreaper:
      return v1::CONTAINMENT_SUBREAPER;
    case warden::Level::kCgroup:
      return v1::CONTAINMENT_CGROUP;
  }
  __builtin_unreachable();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Parts>> Parts::Create(PartsOptions options) {
  auto parts = std::make_unique<Parts>();
  parts->host = std::make_unique<warden::ProcessHost>(std::move(options.host));
  NURSERY_RETURN_IF_ERROR(parts->host->Start());
  parts->executor = std::make_unique<ThreadExecutor>(std::move(options.executor));
  parts->exec = std::make_unique<actions::Exec>(*parts->host, options.exec);
  parts->actions = std::make_unique<actions::Actions>(parts->functions, parts->exec.get());
  parts->store = std::make_unique<store::MemoryStore>(engine::kEventLogBytes);
  engine::EngineOptions engine;
  engine.clock = &parts->executor->clock();
  engine.actions = parts->actions.get();
  engine.store = parts->store.get();
  engine.pools = std::move(options.pools);
  engine.default_job_timeout = options.default_job_timeout;
  engine.semaphores = std::move(options.semaphores);
  engine.data_dir = options.exec.data_dir;
  engine.seed = RandomSeed();
  engine.containment = [host = parts->host.get()] { return ContainmentOf(*host); };
  parts->engine = std::make_unique<engine::Engine>(engine);
  return parts;
}

Parts::~Parts() {
  // Nobody else makes the host's calls when nothing ran.
  if (host != nullptr) host->Stop();
  while (host != nullptr && !host->stopped()) {
    pollfd readable = {host->fd(), POLLIN, 0};
    poll(&readable, 1, -1);
    host->OnReadable();
  }
}

}  // namespace nursery::app
