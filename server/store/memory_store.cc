#include "server/store/memory_store.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

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
  size_t size() const { return bytes.empty() ? packed.size() : bytes.size(); }

  int64_t first_seq = 1;
  int64_t count = 0;
  std::string bytes;
  engine::Compressed packed;  // once `bytes` is empty
};

// Adds the events of `block` above `after` until there are `limit` of them.
void AddEvents(const Block& block, int64_t after, size_t limit, std::vector<v1::Event>* events) {
  const std::string unpacked = block.bytes.empty() ? block.packed.Text() : "";
  const std::string& bytes = block.bytes.empty() ? unpacked : block.bytes;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  const int64_t end = block.first_seq + block.count;
  for (int64_t seq = block.first_seq; seq < end && events->size() < limit; ++seq) {
    int size = 0;
    NURSERY_CHECK(in.ReadVarintSizeAsInt(&size));
    if (seq <= after) {
      NURSERY_CHECK(in.Skip(size));
      continue;
    }
    const CodedInputStream::Limit outer = in.PushLimit(size);
    NURSERY_CHECK(events->emplace_back().ParseFromCodedStream(&in));
    in.PopLimit(outer);
  }
}

// The lock is held to find blocks, not to read or to pack them: those that are full do not change.
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
  using BlockPtr = std::shared_ptr<const Block>;
  static constexpr size_t kMaxBlock = 64 << 10;

  void MakeRoom(size_t bytes) NURSERY_REQUIRES(mutex_);
  void CloseLast() NURSERY_REQUIRES(mutex_);
  std::vector<BlockPtr> BlocksAfter(int64_t after, size_t limit) const NURSERY_REQUIRES(mutex_);

  const size_t max_bytes_;
  const size_t block_bytes_;
  mutable Mutex mutex_;
  std::deque<BlockPtr> full_ NURSERY_GUARDED_BY(mutex_);  // the oldest first
  Block last_ NURSERY_GUARDED_BY(mutex_);
  std::vector<uint32_t> last_starts_ NURSERY_GUARDED_BY(mutex_);  // where each of its events begins
  bool packed_ NURSERY_GUARDED_BY(mutex_) = false;
  int64_t next_seq_ NURSERY_GUARDED_BY(mutex_) = 1;
  size_t bytes_ NURSERY_GUARDED_BY(mutex_) = 0;
};

void MemoryLog::CloseLast() {
  if (last_.count > 0) {
    last_.bytes.shrink_to_fit();
    full_.push_back(std::make_shared<const Block>(std::move(last_)));
  }
  last_ = Block();
  last_.first_seq = next_seq_;
  last_starts_.clear();
}

// In the last block; the oldest ones go when all are too large.
void MemoryLog::MakeRoom(size_t bytes) {
  if (last_.count == 0 || last_.bytes.size() + bytes > block_bytes_) CloseLast();
  bytes_ += bytes;
  while (bytes_ > max_bytes_ && !full_.empty()) {
    bytes_ -= full_.front()->size();
    full_.pop_front();
  }
}

absl::Status MemoryLog::Append(const v1::Event& event) {
  const size_t size = event.ByteSizeLong();
  const size_t prefix = CodedOutputStream::VarintSize64(size);
  MutexLock lock(mutex_);
  NURSERY_CHECK(!packed_) << "an event of a job that has ended";
  if (event.seq() != next_seq_) {
    return Error(absl::StatusCode::kAlreadyExists, "event " + std::to_string(event.seq()) +
                                                       " where " + std::to_string(next_seq_) +
                                                       " is next");
  }
  MakeRoom(prefix + size);
  ++next_seq_;
  ++last_.count;
  const size_t start = last_.bytes.size();
  last_starts_.push_back(static_cast<uint32_t>(start));
  last_.bytes.resize(start + prefix + size);
  uint8_t* const at = reinterpret_cast<uint8_t*>(last_.bytes.data()) + start;
  event.SerializeWithCachedSizesToArray(CodedOutputStream::WriteVarint64ToArray(size, at));
  return absl::OkStatus();
}

std::vector<MemoryLog::BlockPtr> MemoryLog::BlocksAfter(int64_t after, size_t limit) const {
  std::vector<BlockPtr> blocks;
  size_t events = 0;
  for (const BlockPtr& block : full_) {
    const int64_t wanted = block->first_seq + block->count - 1 - after;
    if (wanted <= 0) continue;
    if (events >= limit) return blocks;
    blocks.push_back(block);
    events += static_cast<size_t>(std::min(wanted, block->count));
  }
  const int64_t skipped = std::max<int64_t>(after + 1 - last_.first_seq, 0);
  if (events < limit && skipped < last_.count) {
    // A copy, as more may be appended: of what is asked for, since a reader comes for each event.
    auto rest = std::make_shared<Block>();
    rest->first_seq = last_.first_seq + skipped;
    rest->count = last_.count - skipped;
    rest->bytes = last_.bytes.substr(last_starts_[static_cast<size_t>(skipped)]);
    blocks.push_back(std::move(rest));
  }
  return blocks;
}

absl::StatusOr<engine::EventBatch> MemoryLog::Read(int64_t after, size_t limit) const {
  engine::EventBatch batch;
  std::vector<BlockPtr> blocks;
  {
    MutexLock lock(mutex_);
    batch.oldest_seq = full_.empty() ? last_.first_seq : full_.front()->first_seq;
    blocks = BlocksAfter(after, limit);
  }
  for (const BlockPtr& block : blocks) AddEvents(*block, after, limit, &batch.events);
  return batch;
}

void MemoryLog::Pack() {
  std::deque<BlockPtr> blocks;
  {
    MutexLock lock(mutex_);
    packed_ = true;
    CloseLast();
    blocks = full_;
  }
  size_t bytes = 0;
  for (BlockPtr& block : blocks) {
    if (!block->bytes.empty()) {
      auto packed = std::make_shared<Block>();
      packed->first_seq = block->first_seq;
      packed->count = block->count;
      packed->packed = engine::Compressed(block->bytes);
      block = std::move(packed);
    }
    bytes += block->size();
  }
  MutexLock lock(mutex_);
  full_ = std::move(blocks);
  bytes_ = bytes;
}

}  // namespace

std::shared_ptr<engine::EventLog> MemoryStore::Open(std::string_view) {
  return std::make_shared<MemoryLog>(bytes_per_job_);
}

}  // namespace nursery::store
