// Deflate, at its fastest level, for what is kept and rarely read. protobuf brings it along.
//
// Thread safety: any thread.
#ifndef NURSERY_SERVER_ENGINE_COMPRESS_H_
#define NURSERY_SERVER_ENGINE_COMPRESS_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace nursery::engine {

class Compressed {
 public:
  Compressed() = default;
  explicit Compressed(std::string_view text);

  // What it was made of.
  std::string Text() const;
  // Of the compressed form.
  size_t size() const { return bytes_.size(); }

 private:
  std::string bytes_;
  size_t text_size_ = 0;
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_COMPRESS_H_
