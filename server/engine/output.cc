#include "server/engine/output.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "nursery/core/status.h"
#include "server/engine/limits.h"
#include "server/engine/text.h"

namespace nursery::engine {
namespace {

// Unlinked from the start, so that nothing is left behind whatever happens.
int OpenSpool() {
  const char* directory = std::getenv("TMPDIR");
  const int file =
      open(directory == nullptr ? "/tmp" : directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  return file >= 0 ? file : memfd_create("nursery-output", MFD_CLOEXEC);
}

bool WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t put = write(fd, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    data.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

}  // namespace

Output::~Output() {
  MutexLock lock(mutex_);
  CloseSpool();
}

void Output::CloseSpool() const {
  if (spool_ >= 0) close(spool_);
  spool_ = -1;
}

void Output::DropWhole() const {
  MutexLock lock(mutex_);
  CloseSpool();
}

size_t Output::size() const {
  MutexLock lock(mutex_);
  return sizeof(Output) + head_.size() + tail_.size();
}

void Output::Spool(std::string_view data) {
  const int64_t grown = total_ + static_cast<int64_t>(data.size());
  // What fits into memory needs no descriptor: a map keeps the outputs of all its items.
  const bool starts = spool_ < 0 && spool_complete_;
  if (!spool_complete_ || (starts && grown <= static_cast<int64_t>(kOutputHead))) return;
  // What is over the cap can never be given whole.
  spool_complete_ = grown <= cap_;
  if (starts && spool_complete_) {
    spool_ = OpenSpool();
    spool_complete_ = spool_ >= 0 && WriteAll(spool_, head_ + tail_);
  }
  spool_complete_ = spool_complete_ && WriteAll(spool_, data);
  if (!spool_complete_) spool_errno_ = grown <= cap_ ? errno : 0;
}

void Output::Append(std::string_view data) {
  {
    MutexLock lock(mutex_);
    if (keep_whole_) Spool(data);
    total_ += static_cast<int64_t>(data.size());
    const size_t to_head = std::min(data.size(), kOutputHead - std::min(kOutputHead, head_.size()));
    head_.append(data.substr(0, to_head));
    tail_.append(data.substr(to_head));
    if (tail_.size() > 2 * kOutputTail) tail_.erase(0, tail_.size() - kOutputTail);
  }
  bells_.Ring();
}

int64_t Output::total() const {
  MutexLock lock(mutex_);
  return total_;
}

bool Output::truncated() const {
  MutexLock lock(mutex_);
  return total_ > cap_ || !(whole_in_memory() || spooled());
}

OutputPiece Output::Read(int64_t offset, size_t limit) const {
  MutexLock lock(mutex_);
  OutputPiece piece;
  piece.offset = std::clamp<int64_t>(offset, 0, total_);
  const auto head = static_cast<int64_t>(head_.size());
  if (piece.offset < head) {
    piece.data = head_.substr(static_cast<size_t>(piece.offset), limit);
    return piece;
  }
  const int64_t tail_start = total_ - static_cast<int64_t>(tail_.size());
  piece.offset = std::max(piece.offset, tail_start);
  piece.data = tail_.substr(static_cast<size_t>(piece.offset - tail_start), limit);
  return piece;
}

std::string Output::Excerpt() const {
  MutexLock lock(mutex_);
  if (whole_in_memory()) return head_ + tail_;
  const std::string_view end =
      std::string_view(tail_).substr(tail_.size() - std::min(tail_.size(), kOutputTail));
  const int64_t missing = total_ - static_cast<int64_t>(head_.size() + end.size());
  return head_ + "\n[" + std::to_string(missing) + " bytes not kept]\n" + std::string(end);
}

std::string Output::LastLines(size_t lines) const {
  MutexLock lock(mutex_);
  std::string text = tail_.empty() || whole_in_memory() ? head_ + tail_ : tail_;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  size_t start = text.size();
  while (lines > 0 && start > 0) {
    start = text.rfind('\n', start - 1);
    if (start == std::string::npos) return text;
    --lines;
  }
  return start == 0 ? text : text.substr(start + 1);
}

int64_t Output::StartOfLines(size_t lines) const {
  MutexLock lock(mutex_);
  const std::string text = tail_.empty() || whole_in_memory() ? head_ + tail_ : tail_;
  const int64_t base = total_ - static_cast<int64_t>(text.size());
  if (lines == 0) return total_;
  size_t start = text.size();
  // The newline that ends the last line begins none.
  if (text.ends_with('\n')) --start;
  for (; lines > 0; --lines) {
    start = start == 0 ? std::string::npos : text.rfind('\n', start - 1);
    if (start == std::string::npos) return base;
  }
  return base + static_cast<int64_t>(start) + 1;
}

absl::Status Output::Missing() const {
  if (total_ <= cap_ && spool_errno_ == 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "its output is not kept after its job");
  }
  if (total_ <= cap_) return ErrnoError(spool_errno_, "its output could not be spooled");
  return Error(absl::StatusCode::kFailedPrecondition,
               "its output of " + std::to_string(total_) + " bytes is over the limit of " +
                   std::to_string(cap_) + " bytes and was truncated");
}

absl::StatusOr<std::string> Output::Whole() const {
  MutexLock lock(mutex_);
  if (total_ > cap_) return Missing();
  if (whole_in_memory()) return head_ + tail_;
  if (!spooled()) return Missing();
  std::string text(static_cast<size_t>(total_), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got =
        pread(spool_, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (got <= 0) return ErrnoError(errno, "reading the spooled output");
    done += static_cast<size_t>(got);
  }
  return text;
}

absl::StatusOr<std::string> Output::Text() const {
  const std::string advice = "; pass it with stdin: {output_of: ...} instead";
  const int64_t size = total();
  if (size > static_cast<int64_t>(kOutputInText)) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "its output of " + std::to_string(size) + " bytes is over the limit of " +
                     std::to_string(kOutputInText) + " bytes for ${{ }}" + advice);
  }
  absl::StatusOr<std::string> text = Whole();
  if (!text.ok()) return text;
  while (!text->empty() && text->back() == '\n') text->pop_back();
  if (!IsText(*text)) {
    return Error(absl::StatusCode::kFailedPrecondition, "its output is not UTF-8 text" + advice);
  }
  return text;
}

absl::StatusOr<int> Output::Open() const {
  MutexLock lock(mutex_);
  if (total_ > cap_) return Missing();
  if (spooled()) {
    const int file =
        open(("/proc/self/fd/" + std::to_string(spool_)).c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return ErrnoError(errno, "opening the spooled output");
    return file;
  }
  if (!whole_in_memory()) return Missing();
  return OpenText(head_ + tail_);
}

absl::StatusOr<int> OpenText(std::string_view text) {
  const int file = memfd_create("nursery-input", MFD_CLOEXEC);
  if (file < 0) return ErrnoError(errno, "making an input file");
  if (!WriteAll(file, text) || lseek(file, 0, SEEK_SET) != 0) {
    const absl::Status failed = ErrnoError(errno, "writing an input file");
    close(file);
    return failed;
  }
  return file;
}

}  // namespace nursery::engine
