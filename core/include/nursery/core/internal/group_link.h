// GroupLink: what is left of a group for those who may outlive it.
//
// Thread safety: any thread. The link's lock comes before the group's.
#ifndef NURSERY_CORE_INTERNAL_GROUP_LINK_H_
#define NURSERY_CORE_INTERNAL_GROUP_LINK_H_

#include "absl/status/statusor.h"
#include "nursery/core/mutex.h"

namespace nursery {

class Group;

namespace internal {

class GroupLink {
 public:
  explicit GroupLink(Group& group) : group_(&group) {}

  // The group, in which the caller now has a place, so that it cannot end; or why not.
  absl::StatusOr<Group*> TakePlace() NURSERY_EXCLUDES(mutex_);
  // The group ends.
  void Cut() NURSERY_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  Group* group_ NURSERY_GUARDED_BY(mutex_);
};

}  // namespace internal
}  // namespace nursery

#endif  // NURSERY_CORE_INTERNAL_GROUP_LINK_H_
