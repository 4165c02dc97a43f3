#include "server/warden/process_spec.h"

#include <cstring>

namespace nursery::warden {
namespace {

constexpr uint32_t kMagic = 0x3150534e;  // "NSP1"

// Both ends run on one machine and come from one build, so native layout is the format.
struct Header {
  uint32_t magic;
  uint32_t argc;
  uint32_t envc;
  int32_t nice;
  uint32_t umask;
  uint32_t limits_set;  // bit i: limits[i] is given
  uint64_t no_new_privs;
  uint64_t limits[kLimitCount];
};
static_assert(sizeof(Header) == 32 + 8 * kLimitCount);

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

// Reads consecutive NUL-terminated strings.
class StringReader {
 public:
  explicit StringReader(std::span<char> bytes) : rest_(bytes) {}

  // nullptr when there is no terminated string left.
  char* Next() {
    void* end = rest_.empty() ? nullptr : std::memchr(rest_.data(), '\0', rest_.size());
    if (end == nullptr) return nullptr;
    char* text = rest_.data();
    rest_ = rest_.subspan(static_cast<char*>(end) - text + 1);
    return text;
  }

  bool ReadList(uint32_t count, std::vector<char*>* list) {
    if (count > rest_.size()) return false;  // each string takes a byte at least
    list->reserve(count + 1);
    for (uint32_t i = 0; i < count; ++i) {
      char* text = Next();
      if (text == nullptr) return false;
      list->push_back(text);
    }
    list->push_back(nullptr);
    return true;
  }

  bool AtEnd() const { return rest_.empty(); }

 private:
  std::span<char> rest_;
};

size_t EncodedSize(const ProcessSpec& spec) {
  size_t size = sizeof(Header) + spec.cwd.size() + 1;
  for (const std::string& text : spec.argv) size += text.size() + 1;
  for (const std::string& text : spec.env) size += text.size() + 1;
  return size;
}

Header HeaderOf(const ProcessSpec& spec) {
  Header header = {};
  header.magic = kMagic;
  header.argc = static_cast<uint32_t>(spec.argv.size());
  header.envc = static_cast<uint32_t>(spec.env.size());
  header.nice = spec.nice;
  header.umask = spec.umask;
  header.no_new_privs = spec.no_new_privs ? 1 : 0;
  for (size_t i = 0; i < kLimitCount; ++i) {
    if (!spec.limits[i]) continue;
    header.limits_set |= 1u << i;
    header.limits[i] = *spec.limits[i];
  }
  return header;
}

}  // namespace

std::string ValidateSpec(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv[0].empty()) return "argv[0] is empty: name a program";
  if (spec.cwd.empty() || spec.cwd[0] != '/') {
    return "cwd \"" + spec.cwd + "\" is not an absolute path";
  }
  if (HasNul(spec.cwd)) return "cwd has a NUL byte";
  for (size_t i = 0; i < spec.argv.size(); ++i) {
    if (HasNul(spec.argv[i])) return "argv[" + std::to_string(i) + "] has a NUL byte";
  }
  for (const std::string& text : spec.env) {
    const std::string name = text.substr(0, text.find('='));
    if (HasNul(text)) return "environment variable " + name + " has a NUL byte";
    if (name.empty() || name.size() == text.size()) {
      return "environment entry \"" + name + "\" is not of the form NAME=value";
    }
  }
  if (const size_t size = EncodedSize(spec); size > kMaxSpecBytes) {
    return "argv and environment take " + std::to_string(size) + " bytes, over the limit of " +
           std::to_string(kMaxSpecBytes) + ": pass large data through a file or stdin";
  }
  return "";
}

std::string EncodeSpec(const ProcessSpec& spec) {
  const Header header = HeaderOf(spec);
  std::string bytes;
  bytes.reserve(EncodedSize(spec));
  bytes.append(reinterpret_cast<const char*>(&header), sizeof(header));
  const auto append = [&bytes](const std::string& text) {
    bytes.append(text.c_str(), text.size() + 1);
  };
  append(spec.cwd);
  for (const std::string& text : spec.argv) append(text);
  for (const std::string& text : spec.env) append(text);
  return bytes;
}

std::optional<SpecView> DecodeSpec(std::span<char> bytes) {
  Header header;
  if (bytes.size() < sizeof(header) || bytes.size() > kMaxSpecBytes) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kMagic || header.argc == 0 || header.limits_set >> kLimitCount != 0 ||
      header.no_new_privs > 1) {
    return std::nullopt;
  }
  SpecView view;
  StringReader strings(bytes.subspan(sizeof(header)));
  view.cwd = strings.Next();
  if (view.cwd == nullptr || view.cwd[0] != '/') return std::nullopt;
  if (!strings.ReadList(header.argc, &view.argv) || !strings.ReadList(header.envc, &view.env) ||
      !strings.AtEnd() || view.argv[0][0] == '\0') {
    return std::nullopt;
  }
  view.nice = header.nice;
  view.umask = header.umask;
  view.no_new_privs = header.no_new_privs == 1;
  for (size_t i = 0; i < kLimitCount; ++i) {
    if ((header.limits_set >> i & 1) != 0) view.limits[i] = header.limits[i];
  }
  return view;
}

}  // namespace nursery::warden
