// Planted bugs: deliberate mistakes that the tests must find. Only a build with
// NURSERY_PLANTED_BUGS has them; elsewhere PLANTED is the constant false.
//
// Thread safety: any thread, after main has begun.
//
//   if (PLANTED(wakeup_lost)) return;
#ifndef NURSERY_CORE_INTERNAL_PLANTED_H_
#define NURSERY_CORE_INTERNAL_PLANTED_H_

#if defined(NURSERY_PLANTED_BUGS)

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace nursery::internal {

// The names of all bugs that are linked in.
inline std::vector<std::string_view>& PlantedBugs() {
  static auto& bugs = *new std::vector<std::string_view>;
  return bugs;
}

// Whether the environment switches `name` on.
inline bool NotePlantedBug(std::string_view name) {
  PlantedBugs().push_back(name);
  const char* wanted = std::getenv("NURSERY_PLANT");
  return wanted != nullptr && name == wanted;
}

template <size_t size>
struct PlantedName {
  // NOLINTNEXTLINE(google-explicit-constructor): a literal is a name
  constexpr PlantedName(const char (&literal)[size]) { std::copy_n(literal, size, text); }
  char text[size];
};

// Notes the bug before main begins, wherever it stands.
template <PlantedName name>
struct PlantedBug {
  static inline const bool on = NotePlantedBug(name.text);
};

}  // namespace nursery::internal

#define PLANTED(name) (::nursery::internal::PlantedBug<#name>::on)
#else
#define PLANTED(name) false
#endif

#endif  // NURSERY_CORE_INTERNAL_PLANTED_H_
