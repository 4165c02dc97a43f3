// Label: a text for people that does not change, such as the name of a task or of a deadline; and
// TaskName, a label with the line that spawns the task. Both are made from a string literal, which
// is only referred to, or from any other text, which is copied.
//
// A literal that is not seen as one, since it is passed on by reference, does not compile: it is
// passed on as a Label, or as a std::string_view, which is copied. A constant array is taken for a
// literal, with all that it is padded with.
//
// Thread safety: as std::string.
//
//   co_await group.Spawn("fetch", Fetch, url);         // costs nothing
//   co_await group.Spawn("fetch " + url, Fetch, url);  // a copy
#ifndef NURSERY_CORE_LABEL_H_
#define NURSERY_CORE_LABEL_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string_view>
#include <utility>

namespace nursery {

class Label {
 public:
  constexpr Label() = default;  // empty
  template <size_t kSize>
  // NOLINTNEXTLINE(google-explicit-constructor): a literal is a label
  consteval Label(const char (&literal)[kSize]) : data_(literal), size_(kSize - 1) {}
  template <size_t kSize>
  // NOLINTNEXTLINE(google-explicit-constructor): an array that may change is another text
  Label(char (&text)[kSize]) : Label(Copy(text)) {}
  template <class T>
    requires std::convertible_to<const T&, std::string_view>
  // NOLINTNEXTLINE(google-explicit-constructor): a text is a label
  Label(const T& text) : Label(Copy(text)) {}
  constexpr Label(Label&& other) noexcept { Swap(other); }
  Label(const Label& other) : Label(other.owned_ ? Copy(other) : Label(other.data_, other.size_)) {}
  Label& operator=(const Label& other) { return *this = Label(other); }
  // Gives `other` what it had.
  Label& operator=(Label&& other) noexcept {
    Swap(other);
    return *this;
  }
  constexpr ~Label() {
    if (owned_) Free();
  }

  bool empty() const { return size_ == 0; }
  // NOLINTNEXTLINE(google-explicit-constructor): it is one
  constexpr operator std::string_view() const { return {data_, size_}; }

 private:
  constexpr Label(const char* data, uint32_t size) : data_(data), size_(size) {}
  // Cut at 4 GiB.
  static Label Copy(std::string_view text);
  void Free();
  constexpr void Swap(Label& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(owned_, other.owned_);
  }

  const char* data_ = "";
  uint32_t size_ = 0;
  bool owned_ = false;  // in memory of its own
};

struct TaskName {
  template <size_t kSize>
  // NOLINTNEXTLINE(google-explicit-constructor): a literal is a name
  consteval TaskName(const char (&literal)[kSize],
                     std::source_location the_site = std::source_location::current())
      : text(literal), site(the_site) {}
  template <size_t kSize>
  // NOLINTNEXTLINE(google-explicit-constructor): an array that may change is another text
  TaskName(char (&the_text)[kSize], std::source_location the_site = std::source_location::current())
      : text(the_text), site(the_site) {}
  template <class T>
    requires std::convertible_to<const T&, std::string_view>
  // NOLINTNEXTLINE(google-explicit-constructor): a text is a name
  TaskName(const T& the_text, std::source_location the_site = std::source_location::current())
      : text(the_text), site(the_site) {}

  Label text;
  std::source_location site;
};

namespace internal {
// "fetch 3" of "fetch" and "3".
TaskName Extended(const TaskName& name, std::string_view more);
}  // namespace internal

}  // namespace nursery

#endif  // NURSERY_CORE_LABEL_H_
