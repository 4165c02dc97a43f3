#include "server/app/places.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

namespace nursery::app {
namespace {

// Empty and unset are the same.
std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string Home() {
  std::string home = Variable("HOME");
  if (!home.empty()) return home;
  const passwd* user = getpwuid(geteuid());
  return user == nullptr ? "/" : user->pw_dir;
}

}  // namespace

std::string DefaultDataDir() {
  const std::string state = Variable("XDG_STATE_HOME");
  return state.empty() ? Home() + "/.local/state/nursery" : state + "/nursery";
}

std::string DefaultSocket() {
  const std::string runtime = Variable("XDG_RUNTIME_DIR");
  if (!runtime.empty()) return runtime + "/nursery/nursery.sock";
  if (geteuid() == 0) return "/run/nursery/nursery.sock";
  return DefaultDataDir() + "/nursery.sock";
}

}  // namespace nursery::app
