#include "server/engine/ended_tree.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <limits>

#include "nursery/core/check.h"
#include "server/engine/job.h"
#include "server/engine/most_urgent.h"

namespace nursery::engine {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;

// Writer and Reader are told of the same fields in the same order. Neighbours are alike: a number
// is written as its difference to that of the line before, a text that is the same as one bit.
class Writer {
 public:
  explicit Writer(std::string* out) : raw_(out), out_(&raw_) {}

  void Bits(uint64_t bits, uint64_t before) {
    const uint64_t difference = bits - before;
    const bool negative = difference >> 63 != 0;
    out_.WriteVarint64(difference << 1 ^ (negative ? ~uint64_t{0} : 0));
  }
  template <class Number>
  void Visit(const Number& number, const Number& before) {
    Bits(static_cast<uint64_t>(number), static_cast<uint64_t>(before));
  }
  void Visit(const std::string& text, const std::string& before) {
    if (text == before) return out_.WriteVarint64(0);
    out_.WriteVarint64(text.size() + 1);
    out_.WriteString(text);
  }
  void Visit(Duration duration, Duration before) {
    Bits(static_cast<uint64_t>(duration.count()), static_cast<uint64_t>(before.count()));
  }
  void Visit(WallTime time, WallTime before) {
    Visit(time.time_since_epoch().count(), before.time_since_epoch().count());
  }
  template <class Element>
  void VisitSize(const std::vector<Element>& list) {
    Bits(list.size(), 0);
  }

 private:
  StringOutputStream raw_;
  CodedOutputStream out_;
};

class Reader {
 public:
  explicit Reader(const std::string& text)
      : in_(reinterpret_cast<const uint8_t*>(text.data()), static_cast<int>(text.size())) {}

  uint64_t Bits(uint64_t before) {
    uint64_t zigzag = 0;
    NURSERY_CHECK(in_.ReadVarint64(&zigzag));
    return before + (zigzag >> 1 ^ (~(zigzag & 1) + 1));
  }
  template <class Number>
  void Visit(Number& number, const Number& before) {
    number = static_cast<Number>(Bits(static_cast<uint64_t>(before)));
  }
  void Visit(std::string& text, const std::string& before) {
    uint64_t size = 0;
    NURSERY_CHECK(in_.ReadVarint64(&size));
    if (size == 0) {
      text = before;
    } else {
      NURSERY_CHECK(in_.ReadString(&text, static_cast<int>(size - 1)));
    }
  }
  void Visit(Duration& duration, Duration before) {
    duration = Duration(static_cast<Duration::rep>(Bits(static_cast<uint64_t>(before.count()))));
  }
  void Visit(WallTime& time, WallTime before) {
    WallTime::rep count;
    Visit(count, before.time_since_epoch().count());
    time = WallTime(WallTime::duration(count));
  }
  template <class Element>
  void VisitSize(std::vector<Element>& list) {
    list.resize(Bits(0));
  }
  bool AtEnd() { return in_.ExpectAtEnd(); }

 private:
  CodedInputStream in_;
};

// Everything but the path, which follows from the names.
template <class Stream, class View>
void VisitFields(Stream& stream, View& view, const NodeView& before) {
  stream.Visit(view.depth, before.depth);
  stream.Visit(view.name, before.name);
  stream.Visit(view.kind, before.kind);
  stream.Visit(view.state, before.state);
  stream.Visit(view.outcome, before.outcome);
  stream.Visit(view.action, before.action);
  stream.Visit(view.wait, before.wait);
  stream.Visit(view.wait_object, before.wait_object);
  stream.Visit(view.started, before.started);
  stream.Visit(view.ended, before.ended);
  stream.Visit(view.elapsed, before.elapsed);
  stream.Visit(view.attempt, before.attempt);
  stream.Visit(view.max_attempts, before.max_attempts);
  stream.Visit(view.pid, before.pid);
  stream.Visit(view.cause, before.cause);
  stream.Visit(view.reason, before.reason);
  if (view.kind != spec::Kind::kMap) return;
  stream.Visit(view.items, int64_t{0});
  for (auto& count : view.items_by_state) stream.Visit(count, int64_t{0});
  stream.Visit(view.workers, int64_t{0});
  stream.VisitSize(view.failed_items);
  for (auto& item : view.failed_items) {
    stream.Visit(item.name, std::string());
    stream.Visit(item.state, NodeState::kFailed);
    stream.Visit(item.attempt, 0);
    stream.Visit(item.elapsed, Duration());
  }
}

Compressed PackViews(const std::vector<NodeView>& views) {
  std::string text;
  {
    Writer writer(&text);
    const NodeView none;
    const NodeView* before = &none;
    for (const NodeView& view : views) {
      VisitFields(writer, view, *before);
      before = &view;
    }
  }
  return Compressed(text);
}

// Of all nodes, one in each line.
Compressed PackPaths(const spec::Job& job) {
  std::string paths;
  for (const spec::Node& node : job.nodes) paths += job.PathOf(node.index) + "\n";
  return Compressed(paths);
}

// "fetch[17]/parse" is the node "fetch[]/parse" of the job file.
std::string WithoutItems(std::string_view path) {
  std::string plain;
  bool in_item = false;
  for (const char each : path) {
    if (each == ']') in_item = false;
    if (!in_item) plain += each;
    if (each == '[') in_item = true;
  }
  return plain;
}

}  // namespace

EndedTree::EndedTree(const Job& job, const spec::Job& spec)
    : state_(job.state()),
      counts_(job.NodeCounts()),
      last_seq_(job.last_seq()),
      resource_(job.Describe().SerializeAsString()),
      views_(PackViews(job.View(std::numeric_limits<size_t>::max()))),
      paths_(PackPaths(spec)),
      outputs_(job.Outputs("", /*below=*/true)) {}

v1::Job EndedTree::Describe() const {
  v1::Job job;
  NURSERY_CHECK(job.ParseFromString(resource_.Text()));
  return job;
}

std::vector<NodeView> EndedTree::AllViews() const {
  const std::string text = views_.Text();
  Reader reader(text);
  std::vector<NodeView> views;
  std::vector<std::string> paths;  // of the last line of each depth
  const NodeView none;
  while (!reader.AtEnd()) {
    NodeView view;
    VisitFields(reader, view, views.empty() ? none : views.back());
    paths.resize(static_cast<size_t>(view.depth));
    if (view.depth > 0) {
      const bool joined = paths.back().empty() || view.name.starts_with('[');
      view.path = paths.back() + (joined ? "" : "/") + view.name;
    }
    paths.push_back(view.path);
    views.push_back(std::move(view));
  }
  return views;
}

std::vector<NodeView> EndedTree::View(size_t limit, const std::string& path, int depth) const {
  std::vector<NodeView> all = AllViews();
  std::erase_if(all, [&](const NodeView& each) { return !IsAtOrBelow(each.path, path); });
  if (all.empty() || all.front().path != path) return {};
  const int deepest = DeepestOf(all.front().depth, depth);
  std::erase_if(all, [&](const NodeView& each) { return each.depth > deepest; });
  return KeepUrgent(std::move(all), limit);
}

std::optional<NodeView> EndedTree::ViewOf(std::string_view path) const {
  for (NodeView& view : AllViews()) {
    if (view.path == path) return std::move(view);
  }
  return std::nullopt;
}

std::vector<OutputView> EndedTree::Outputs(const std::string& path, bool below) const {
  std::vector<OutputView> views;
  for (const OutputView& output : outputs_) {
    if (output.path == path || (below && IsAtOrBelow(output.path, path))) views.push_back(output);
  }
  return views;
}

std::optional<NodeState> EndedTree::StateOf(std::string_view path) const {
  if (path.empty()) return state_;
  const std::optional<NodeView> view = ViewOf(path);
  if (!view) return std::nullopt;
  return view->state;
}

bool EndedTree::Knows(std::string_view path) const {
  const std::string plain = WithoutItems(path);
  if (plain.find('\n') != std::string::npos) return false;
  const std::string paths = "\n" + paths_.Text();
  return paths.find("\n" + plain + "\n") != std::string::npos;
}

}  // namespace nursery::engine
