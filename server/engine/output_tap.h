// OutputTap: the outputs of a job's attempts for one reader, who reads at a pace of its own: of all
// attempts while they run, or of those that have failed. Holds what has ended until it is read, up
// to kMaxTapped attempts; what is left out beyond that is counted.
//
// Thread safety: any thread; Take by one task. Lifetime: shared by the reader and the tree.
//
//   auto tap = std::make_shared<OutputTap>(OutputTap::Of::kFailed, bell);
//   job->Tap(tap);
//   for (TappedPiece& piece : tap->Take(256 << 10)) Send(piece);
#ifndef NURSERY_SERVER_ENGINE_OUTPUT_TAP_H_
#define NURSERY_SERVER_ENGINE_OUTPUT_TAP_H_

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "nursery/core/mutex.h"
#include "nursery/v1/resources.pb.h"
#include "server/engine/bell.h"
#include "server/engine/output.h"

namespace nursery::engine {

class Node;

// What follows in one stream of an attempt.
struct TappedPiece {
  TappedPiece() = default;

  std::string path;
  int attempt = 0;  // 0: of attempts that were left out
  bool is_errors = false;
  OutputPiece piece;
  int64_t gap = 0;  // bytes missing before it
};

class OutputTap {
 public:
  enum class Of { kFailed, kAll };
  // `bell` rings when there may be more to read.
  OutputTap(Of of, BellSender bell) : of_(of), bell_(std::move(bell)) {}

  // By the tree, under its lock: the attempt of `node` begins to write, or has ended.
  void OnStarted(const Node& node) NURSERY_EXCLUDES(mutex_);
  void OnEnded(const Node& node, v1::AttemptState state) NURSERY_EXCLUDES(mutex_);

  // About `limit` bytes of what has not been read. Empty: there is nothing now.
  std::vector<TappedPiece> Take(size_t limit) NURSERY_EXCLUDES(mutex_);
  // The reader has gone: nothing is held any more.
  void Close() NURSERY_EXCLUDES(mutex_);

 private:
  struct Stream {
    std::shared_ptr<const Output> from;  // null: there is none
    int64_t at = 0;
  };
  struct Tapped {
    std::string path;
    int attempt = 0;
    bool ended = false;
    Stream output;
    Stream errors;
  };

  void Add(const Node& node, bool ended) NURSERY_REQUIRES(mutex_);
  void MakeRoom() NURSERY_REQUIRES(mutex_);
  static void Read(const Tapped& of, Stream& stream, bool is_errors, size_t limit,
                   std::vector<TappedPiece>* pieces);

  const Of of_;
  const BellSender bell_;
  Mutex mutex_;
  bool closed_ NURSERY_GUARDED_BY(mutex_) = false;
  std::list<Tapped> tapped_ NURSERY_GUARDED_BY(mutex_);  // whose turn it is first
  int64_t left_out_ NURSERY_GUARDED_BY(mutex_) = 0;      // bytes, not told yet
};

}  // namespace nursery::engine

#endif  // NURSERY_SERVER_ENGINE_OUTPUT_TAP_H_
