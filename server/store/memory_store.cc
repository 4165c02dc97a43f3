#include "server/store/memory_store.h"

#include <algorithm>
#include <deque>
#include <string>

#include "google/protobuf/io/coded_stream.h"
#include "nursery/core/check.h"
#include "nursery/core/mutex.h"
#include "nursery/core/status.h"
#include "server/engine/compress.h"

namespace nursery::store {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

// Events serialised one behind the other, each behind its length: an event costs its bytes, not a
// string and an allocation.
struct Block {
  int64_t first_seq = 0;
  int64_t count = 0;
  std::string bytes;
  engine::Compressed packed;  // once `bytes` is empty
};

class MemoryLog final : public engine::EventLog {
 public:
  explicit MemoryLog(size_t max_bytes)
      : max_bytes_(max_bytes), block_bytes_(std::clamp<size_t>(max_bytes / 16, 1, kMaxBlock)) {}

  absl::Status Append(const v1::Event& event) override NURSERY_EXCLUDES(mutex_);
  absl::StatusOr<engine::EventBatch> Read(int64_t after, size_t limit) const override
      NURSERY_EXCLUDES(mutex_);
  void Pack() override NURSERY_EXCLUDES(mutex_);
  size_t size() const override NURSERY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return bytes_;
  }

 private:
  static constexpr size_t kMaxBlock = 64 << 10;

  Block& BlockFor(size_t bytes) NURSERY_REQUIRES(mutex_);

  const size_t max_bytes_;
  const size_t block_bytes_;
  mutable Mutex mutex_;
  std::deque<Block> blocks_ NURSERY_GUARDED_BY(mutex_);
  int64_t next_seq_ NURSERY_GUARDED_BY(mutex_) = 1;
  size_t bytes_ NURSERY_GUARDED_BY(mutex_) = 0;
};

// The last block, or a new one when that is full; the oldest ones go when all are too large.
Block& MemoryLog::BlockFor(size_t bytes) {
  if (blocks_.empty() || blocks_.back().bytes.size() + bytes > block_bytes_) {
    if (!blocks_.empty()) blocks_.back().bytes.shrink_to_fit();
    blocks_.emplace_back().first_seq = next_seq_;
  }
  bytes_ += bytes;
  while (bytes_ > max_bytes_ && blocks_.size() > 1) {
    bytes_ -= blocks_.front().bytes.size();
    blocks_.pop_front();
  }
  return blocks_.back();
}

absl::Status MemoryLog::Append(const v1::Event& event) {
  const size_t size = event.ByteSizeLong();
  const size_t prefix = CodedOutputStream::VarintSize64(size);
  MutexLock lock(mutex_);
  if (event.seq() != next_seq_) {
    return Error(absl::StatusCode::kAlreadyExists, "event " + std::to_string(event.seq()) +
                                                       " where " + std::to_string(next_seq_) +
                                                       " is next");
  }
  Block& block = BlockFor(prefix + size);
  ++next_seq_;
  ++block.count;
  const size_t start = block.bytes.size();
  block.bytes.resize(start + prefix + size);
  uint8_t* const at = reinterpret_cast<uint8_t*>(block.bytes.data()) + start;
  event.SerializeWithCachedSizesToArray(CodedOutputStream::WriteVarint64ToArray(size, at));
  return absl::OkStatus();
}

absl::StatusOr<engine::EventBatch> MemoryLog::Read(int64_t after, size_t limit) const {
  MutexLock lock(mutex_);
  engine::EventBatch batch;
  batch.oldest_seq = blocks_.empty() ? next_seq_ : blocks_.front().first_seq;
  const auto ends_after = [after](const Block& block) {
    return block.first_seq + block.count - 1 > after;
  };
  auto block = std::find_if(blocks_.begin(), blocks_.end(), ends_after);
  for (; block != blocks_.end() && batch.events.size() < limit; ++block) {
    const std::string unpacked = block->bytes.empty() ? block->packed.Text() : "";
    const std::string& bytes = block->bytes.empty() ? unpacked : block->bytes;
    CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                        static_cast<int>(bytes.size()));
    for (int64_t seq = block->first_seq;
         seq < block->first_seq + block->count && batch.events.size() < limit; ++seq) {
      int size = 0;
      NURSERY_CHECK(in.ReadVarintSizeAsInt(&size));
      if (seq <= after) {
        NURSERY_CHECK(in.Skip(size));
        continue;
      }
      const CodedInputStream::Limit end = in.PushLimit(size);
      NURSERY_CHECK(batch.events.emplace_back().ParseFromCodedStream(&in));
      in.PopLimit(end);
    }
  }
  return batch;
}

void MemoryLog::Pack() {
  MutexLock lock(mutex_);
  for (Block& block : blocks_) {
    if (block.bytes.empty()) continue;
    block.packed = engine::Compressed(block.bytes);
    bytes_ -= block.bytes.size() - block.packed.size();
    block.bytes = std::string();
  }
}

}  // namespace

std::shared_ptr<engine::EventLog> MemoryStore::Open(std::string_view) {
  return std::make_shared<MemoryLog>(bytes_per_job_);
}

}  // namespace nursery::store
