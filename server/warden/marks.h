// Marks: what the environment of a process says about the attempt that has started it. A process
// below several servers has one of each.
//
// Thread safety: pure functions.
#ifndef NURSERY_SERVER_WARDEN_MARKS_H_
#define NURSERY_SERVER_WARDEN_MARKS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/warden/process_tree.h"

namespace nursery::warden {

// That of an attempt of `instance`, which is what the marks of one server begin with.
std::string MakeMark(const std::string& instance, uint64_t attempt);
// The attempt of `instance` that `marks` name.
std::optional<uint64_t> AttemptIn(const std::vector<std::string>& marks,
                                  const std::string& instance);

// Adds one to `environment`, behind those that it has.
void AddMark(const std::string& mark, std::vector<std::string>* environment);
// Those of one entry of an environment, which may be any.
std::vector<std::string> MarksIn(std::string_view entry);

// Those in the environment that each of `processes` was started with, that of the attempt nearest
// to it last. None if it may not be read, or not without waiting (memory_files.h).
std::vector<std::vector<std::string>> MarksOf(const std::vector<ProcessInfo>& processes);

// Those of them that have `mark`.
std::vector<ProcessInfo> MarkedAmong(const std::vector<ProcessInfo>& processes,
                                     const std::string& mark);
// All live processes of the machine that can be seen and have one of `instance`, by its attempt.
std::map<uint64_t, std::vector<ProcessInfo>> ProcessesByAttempt(const std::string& instance);

}  // namespace nursery::warden

#endif  // NURSERY_SERVER_WARDEN_MARKS_H_
