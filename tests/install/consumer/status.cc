// Errors and assertions as a user of the installed package meets them.
#include "nursery/core/status.h"

#include <cerrno>
#include <iostream>
#include <string_view>

#include "nursery/core/check.h"

namespace {

absl::Status Open(std::string_view path) {
  return nursery::Annotate(nursery::ErrnoError(ENOENT, path), "config");
}

}  // namespace

int main() {
  const absl::Status status = Open("nursery.yaml");
  NURSERY_CHECK(status.code() == absl::StatusCode::kNotFound) << status.ToString();
  const std::string_view message = nursery::Message(status);
  NURSERY_CHECK(message.starts_with("config: nursery.yaml: ")) << message;
  std::cout << message << '\n';
}
