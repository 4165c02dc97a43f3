// Escapees: what attempts of a job have left alive, out of reach of the level of their containment.
// It is told as it was when each attempt ended: nobody watches over it any more.
//
// Thread safety: Escapees any thread; SurvivorList none.
#ifndef NURSERY_SERVER_ENGINE_ESCAPEES_H_
#define NURSERY_SERVER_ENGINE_ESCAPEES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "nursery/core/mutex.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/action.h"

namespace nursery::engine {

// Survivors of several nodes.
struct SurvivorList {
  void Add(const std::string& path, const Survivors& survivors);

  std::vector<v1::Survivor> named;  // at most kMaxSurvivors
  int64_t count = 0;
};

class Escapees {
 public:
  // What an attempt of the node at `path` has left.
  void Add(const std::string& path, const Survivors& left) NURSERY_EXCLUDES(mutex_);
  // Adds those of the nodes at and below `path`.
  void AddTo(const std::string& path, SurvivorList* list) const NURSERY_EXCLUDES(mutex_);

 private:
  struct Left {
    std::string path;
    Survivors survivors;
  };

  mutable Mutex mutex_;
  // At most so many, the first kMaxSurvivors of them with names.
  static constexpr size_t kMaxLeft = 10'000;
  std::vector<Left> left_ NURSERY_GUARDED_BY(mutex_);
  // Those for which there was no place; they count for every path.
  int64_t others_ NURSERY_GUARDED_BY(mutex_) = 0;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_ESCAPEES_H_
