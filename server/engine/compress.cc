#include "server/engine/compress.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/gzip_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "nursery/core/check.h"

namespace nursery::engine {

using google::protobuf::io::ArrayInputStream;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::GzipInputStream;
using google::protobuf::io::GzipOutputStream;
using google::protobuf::io::StringOutputStream;

Compressed::Compressed(std::string_view text) : text_size_(text.size()) {
  StringOutputStream raw(&bytes_);
  GzipOutputStream::Options options;
  options.format = GzipOutputStream::ZLIB;
  options.compression_level = 1;
  GzipOutputStream deflate(&raw, options);
  {
    CodedOutputStream out(&deflate);
    out.WriteRaw(text.data(), static_cast<int>(text.size()));
  }
  NURSERY_CHECK(deflate.Close());
  bytes_.shrink_to_fit();
}

std::string Compressed::Text() const {
  std::string text(text_size_, '\0');
  ArrayInputStream raw(bytes_.data(), static_cast<int>(bytes_.size()));
  GzipInputStream inflate(&raw, GzipInputStream::ZLIB);
  CodedInputStream in(&inflate);
  NURSERY_CHECK(in.ReadRaw(text.data(), static_cast<int>(text_size_)));
  return text;
}

}  // namespace nursery::engine
