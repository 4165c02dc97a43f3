#include "server/spec/load.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <tuple>

#include "nursery/core/status.h"
#include "nursery/v1/config.pb.h"
#include "nursery/v1/job.pb.h"
#include "server/spec/reader.h"

namespace nursery::spec {
namespace {

// "-" is stdin.
absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      path == "-" ? stdin : std::fopen(path.c_str(), "rb"), &std::fclose);
  if (file == nullptr) return ErrnoError(errno, path);
  std::string content;
  std::array<char, 1 << 16> buffer;
  while (const size_t size = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    content.append(buffer.data(), size);
    if (content.size() > kMaxFileBytes) {
      return Error(absl::StatusCode::kInvalidArgument, path + " is over the limit of 16 MiB");
    }
  }
  if (std::ferror(file.get()) != 0) return ErrnoError(errno, path);
  return content;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? "." : path.substr(0, slash + 1);
}

std::string Resolve(const std::string& directory, std::string_view path) {
  if (path.starts_with('/') || directory.empty() || directory == ".") return std::string(path);
  return directory + (directory.ends_with('/') ? "" : "/") + std::string(path);
}

std::string_view ParentOf(std::string_view path) {
  const size_t cut = path.find_last_of(".[");
  return path.substr(0, cut == path.npos ? 0 : cut);
}

// True if `inner` is `outer` or lies below it.
bool IsWithin(std::string_view inner, std::string_view outer) {
  if (!inner.starts_with(outer)) return false;
  return inner.size() == outer.size() || inner[outer.size()] == '.' || inner[outer.size()] == '[';
}

// Where `path` of the message stands in the file, or else the nearest thing around it.
struct Located {
  Violation violation;
  bool exact;
};

Located Locate(const Violation& violation, const PlaceMap& places) {
  std::string_view known = violation.path;
  auto place = places.find(std::string(known));
  while (place == places.end() && !known.empty()) {
    known = ParentOf(known);
    place = places.find(std::string(known));
  }
  if (place == places.end()) return {violation, false};
  std::string rest = violation.path.substr(known.size());
  std::string path = place->second.spelled;
  if (path.empty() && rest.starts_with('.')) rest.erase(0, 1);
  path += rest;
  return {{path, violation.message, place->second.line, place->second.column},
          known.size() == violation.path.size()};
}

// True if `located` would go away with what the reader has found already.
bool IsConsequence(const Located& located, const std::vector<Violation>& found) {
  const std::string_view path = located.violation.path;
  return std::any_of(found.begin(), found.end(), [&](const Violation& cause) {
    if (cause.path.empty()) return true;
    const std::string_view parent = ParentOf(cause.path);
    return IsWithin(path, cause.path) || path == parent ||
           (!located.exact && ParentOf(path) == parent);
  });
}

void SortAndCut(std::vector<Violation>& violations) {
  const auto order = [](const Violation& v) { return std::tie(v.line, v.column, v.path); };
  std::sort(violations.begin(), violations.end(),
            [&](const Violation& a, const Violation& b) { return order(a) < order(b); });
  if (violations.size() > kMaxShownErrors) violations.resize(kMaxShownErrors);
}

// Reads `document` a second time to learn where its fields are: only when something is wrong.
template <class Message>
PlaceMap FindPlaces(const Document& document, ReadOptions options) {
  PlaceMap places;
  options.places = &places;
  Message ignored;
  ViolationList known;
  ReadMessage(document, options, ignored, known);
  return places;
}

void AddCompiled(const CompileResult& compiled, const PlaceMap& places, LoadedJob& loaded) {
  const std::vector<Violation> found = loaded.violations;
  for (const Violation& violation : compiled.violations) {
    Located located = Locate(violation, places);
    if (IsConsequence(located, found)) continue;
    loaded.violations.push_back(std::move(located.violation));
    ++loaded.total_violations;
  }
  if (found.empty()) loaded.total_violations = compiled.total_violations;
  for (const Violation& warning : compiled.warnings) {
    loaded.warnings.push_back(Locate(warning, places).violation);
  }
}

}  // namespace

absl::StatusOr<LoadedJob> LoadJobFile(const std::string& path, const LoadOptions& options) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  return LoadJobText(*text, path == "-" ? "stdin" : path, DirectoryOf(path), options);
}

LoadedJob LoadJobText(std::string_view text, const std::string& file,
                      const std::string& base_directory, const LoadOptions& options) {
  LoadedJob loaded;
  ViolationList violations;
  auto spec = std::make_shared<v1::JobSpec>();
  spec->set_source_file(file);
  for (const auto& [name, value] : options.arguments) (*spec->mutable_arguments())[name] = value;
  ReadOptions read_options;
  read_options.read_file = [&](std::string_view path) {
    return ReadFile(Resolve(base_directory, path));
  };
  std::optional<Document> document = Document::Parse(text, violations);
  if (document.has_value()) {
    ReadMessage(*document, read_options, *spec, violations);
  }
  loaded.violations = violations.violations();
  loaded.total_violations = violations.total();
  if (document.has_value()) {
    CompileResult compiled = Compile(*spec, options.compile);
    const bool anything = compiled.total_violations > 0 || !compiled.warnings.empty();
    if (anything) AddCompiled(compiled, FindPlaces<v1::JobSpec>(*document, read_options), loaded);
    if (loaded.violations.empty()) loaded.job = std::move(compiled.job);
  }
  SortAndCut(loaded.violations);
  loaded.spec = std::move(spec);
  return loaded;
}

std::vector<Violation> LoadConfigText(std::string_view text, v1::ServerConfig& config) {
  ViolationList violations;
  std::optional<Document> document = Document::Parse(text, violations);
  if (document.has_value()) ReadMessage(*document, {}, config, violations);
  std::vector<Violation> sorted = violations.violations();
  SortAndCut(sorted);
  return sorted;
}

std::vector<Violation> LocateInConfig(std::string_view text, std::vector<Violation> found) {
  ViolationList known;
  const std::optional<Document> document = Document::Parse(text, known);
  if (!document.has_value()) return found;
  const PlaceMap places = FindPlaces<v1::ServerConfig>(*document, {});
  for (Violation& violation : found) violation = Locate(violation, places).violation;
  SortAndCut(found);
  return found;
}

std::string Describe(std::string_view file, const LoadedJob& loaded) {
  std::string out;
  for (const Violation& violation : loaded.violations) out += Format(violation, file) + "\n";
  if (loaded.total_violations > loaded.violations.size()) {
    out +=
        "... and " + std::to_string(loaded.total_violations - loaded.violations.size()) + " more\n";
  }
  return out + std::to_string(loaded.total_violations) +
         (loaded.total_violations == 1 ? " error\n" : " errors\n");
}

}  // namespace nursery::spec
