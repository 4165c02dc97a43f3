#include "server/engine/consumed.h"

#include "nursery/core/check.h"

namespace nursery::engine {
namespace {

class Finder {
 public:
  explicit Finder(const spec::Job& job) : job_(job), consumed_(job.nodes.size()) {}

  std::vector<bool> Find() {
    for (const spec::Node& node : job_.nodes) Visit(node);
    return std::move(consumed_);
  }

 private:
  void Mark(spec::NodeIndex node) {
    consumed_[static_cast<size_t>(node)] = true;
    const spec::Node& producer = job_.node(node);
    if (producer.kind == spec::Kind::kMap)
      consumed_[static_cast<size_t>(producer.first_child)] = true;
  }

  void Visit(const spec::Template& text) {
    for (const spec::Template::Piece& piece : text.Pieces()) {
      if (piece.expression == nullptr) continue;
      if (piece.expression->source == spec::Expression::Source::kOutput)
        Mark(piece.expression->subject);
    }
  }
  void Visit(const std::optional<spec::Template>& text) {
    if (text) Visit(*text);
  }

  void Visit(const spec::Exec& exec) {
    for (const spec::Template& argument : exec.argv) Visit(argument);
    for (const spec::EnvLayer::Variable* variable : spec::Environment(exec)) Visit(variable->value);
    Visit(exec.options->cwd);
    if (const auto* text = std::get_if<spec::StdinText>(&exec.options->input)) Visit(text->text);
    if (const auto* file = std::get_if<spec::StdinFile>(&exec.options->input)) Visit(file->path);
    if (const auto* output = std::get_if<spec::StdinOutput>(&exec.options->input))
      Mark(output->sibling);
  }
  void Visit(const spec::Sleep& sleep) { Visit(sleep.expression); }
  void Visit(const spec::Call& call) { Visit(call.argument); }
  void Visit(const spec::Action& action) {
    std::visit([this](const auto& each) { Visit(each); }, action);
  }

  void Visit(const spec::Node& node) {
    if (node.action != nullptr) Visit(*node.action);
    if (node.finally != nullptr) Visit(node.finally->action);
    for (const spec::Acquire& acquire : node.options->acquire) Visit(acquire.expression);
    if (node.map == nullptr) return;
    Visit(node.map->key);
    if (const auto* items = std::get_if<spec::ItemsOfOutput>(&node.map->items))
      Mark(items->sibling);
  }

  const spec::Job& job_;
  std::vector<bool> consumed_;
};

}  // namespace

std::vector<bool> ConsumedOutputs(const spec::Job& job) { return Finder(job).Find(); }

}  // namespace nursery::engine
