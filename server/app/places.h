// Places: where things are by default, for the server and those who look for it.
//
// Thread safety: reads the environment; not while somebody changes it.
#ifndef NURSERY_SERVER_APP_PLACES_H_
#define NURSERY_SERVER_APP_PLACES_H_

#include <string>

namespace nursery::app {

// $XDG_STATE_HOME/nursery, or ~/.local/state/nursery.
std::string DefaultDataDir();
// $XDG_RUNTIME_DIR/nursery/nursery.sock; without it /run/nursery/nursery.sock for root, and for
// others nursery.sock in the data directory.
std::string DefaultSocket();

}  // namespace nursery::app

#endif  // NURSERY_SERVER_APP_PLACES_H_
