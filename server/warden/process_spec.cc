#include "server/warden/process_spec.h"

#include <cstring>

namespace nursery::warden {
namespace {

constexpr uint32_t kMagic = 0x3250534e;  // "NSP2"

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
  uint64_t tree_limits[kTreeLimitCount];
  uint32_t tree_limits_set;  // a TreeLimitSet
  uint32_t has_account;      // user and groups mean something; the groups follow this header
  uint32_t user;
  uint32_t group;
  uint64_t group_count;  // of the supplementary ones
};
static_assert(sizeof(Header) == 56 + 8 * (kLimitCount + kTreeLimitCount));

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

// Of a header that claims no more than it may.
bool IsSound(const Header& header, size_t rest) {
  return header.magic == kMagic && header.argc > 0 && header.limits_set >> kLimitCount == 0 &&
         header.tree_limits_set >> kTreeLimitCount == 0 && header.no_new_privs <= 1 &&
         header.has_account <= 1 && header.group_count <= rest / sizeof(gid_t) &&
         (header.has_account == 1 || header.group_count == 0);
}

void ReadLimits(const Header& header, SpecView* view) {
  for (size_t i = 0; i < kLimitCount; ++i) {
    if ((header.limits_set >> i & 1) != 0) view->limits[i] = header.limits[i];
  }
  for (size_t i = 0; i < kTreeLimitCount; ++i) {
    if ((header.tree_limits_set >> i & 1) != 0) view->tree_limits[i] = header.tree_limits[i];
  }
}

Account ReadAccount(const Header& header, std::span<const char> groups) {
  Account account = {header.user, header.group, {}};
  account.groups.resize(header.group_count);
  if (!groups.empty()) std::memcpy(account.groups.data(), groups.data(), groups.size());
  return account;
}

size_t EncodedSize(const ProcessSpec& spec) {
  size_t size = sizeof(Header) + spec.cwd.size() + 1;
  if (spec.account) size += spec.account->groups.size() * sizeof(gid_t);
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
  header.tree_limits_set = SetOf(spec.tree_limits);
  for (size_t i = 0; i < kTreeLimitCount; ++i) {
    header.tree_limits[i] = spec.tree_limits[i].value_or(0);
  }
  if (!spec.account) return header;
  header.has_account = 1;
  header.user = spec.account->user;
  header.group = spec.account->group;
  header.group_count = spec.account->groups.size();
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
  if (spec.account) {
    const std::vector<gid_t>& groups = spec.account->groups;
    bytes.append(reinterpret_cast<const char*>(groups.data()), groups.size() * sizeof(gid_t));
  }
  append(spec.cwd);
  for (const std::string& text : spec.argv) append(text);
  for (const std::string& text : spec.env) append(text);
  return bytes;
}

std::optional<SpecView> DecodeSpec(std::span<char> bytes) {
  Header header;
  if (bytes.size() < sizeof(header) || bytes.size() > kMaxSpecBytes) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const std::span<char> rest = bytes.subspan(sizeof(header));
  if (!IsSound(header, rest.size())) return std::nullopt;
  SpecView view;
  const size_t group_bytes = header.group_count * sizeof(gid_t);
  if (header.has_account == 1) view.account = ReadAccount(header, rest.first(group_bytes));
  StringReader strings(rest.subspan(group_bytes));
  view.cwd = strings.Next();
  if (view.cwd == nullptr || view.cwd[0] != '/') return std::nullopt;
  if (!strings.ReadList(header.argc, &view.argv) || !strings.ReadList(header.envc, &view.env) ||
      !strings.AtEnd() || view.argv[0][0] == '\0') {
    return std::nullopt;
  }
  view.nice = header.nice;
  view.umask = header.umask;
  view.no_new_privs = header.no_new_privs == 1;
  ReadLimits(header, &view);
  return view;
}

}  // namespace nursery::warden
