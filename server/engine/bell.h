// A bell: wakes a task that will then look at what has changed. Ringing never waits, and rings that
// nobody has heard yet are one.
#ifndef NURSERY_SERVER_ENGINE_BELL_H_
#define NURSERY_SERVER_ENGINE_BELL_H_

#include "nursery/core/channel.h"

namespace nursery::engine {

struct Tick {};
// Both are the halves of a channel of capacity 1.
using BellSender = Sender<Tick>;
using BellReceiver = Receiver<Tick>;

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_BELL_H_
