// Runs jobs, given as YAML, on a seeded executor with `call` actions that the test scripts: "2s"
// succeeds after two seconds, "2s!" fails then, "-" waits until it is cancelled; a second word tags
// it. A call of `echo` gives its argument.
#ifndef NURSERY_TESTS_ENGINE_JOB_HARNESS_H_
#define NURSERY_TESTS_ENGINE_JOB_HARNESS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nursery/testing/seeds.h"
#include "server/actions/actions.h"
#include "server/engine/engine.h"
#include "server/store/memory_store.h"

namespace nursery::engine {

class JobHarness {
 public:
  explicit JobHarness(SeededExecutor& executor, int64_t slots = 100,
                      actions::ExecRunner* exec = nullptr, Store* store = nullptr);

  // The test fails when `yaml` is not valid.
  static std::shared_ptr<const spec::Job> Compile(const std::string& yaml);
  std::shared_ptr<Job> Admit(const std::string& yaml);

  Engine& engine() { return *engine_; }
  // Every scripted call that was made: "start TAG", "end TAG", "cancelled TAG", in order.
  const std::vector<std::string>& trace() const { return trace_; }
  // The arguments of `echo`, in order.
  const std::vector<std::string>& echoed() const { return echoed_; }
  // How many calls with `tag` have started.
  int Started(const std::string& tag) const;
  // "PATH STATE" of every node that ended by itself, in the order of the log.
  static std::map<std::string, std::string> Ends(const Job& job);
  static std::string StateOf(const Job& job, const std::string& path);

  // Runs `yaml` to its end.
  Async<std::shared_ptr<Job>> Run(Context context, std::string yaml);

 private:
  Async<absl::StatusOr<std::string>> Script(Context context, std::string argument);
  Async<absl::StatusOr<std::string>> Echo(Context context, std::string argument);

  std::vector<std::string> trace_;
  std::vector<std::string> echoed_;
  actions::FunctionRegistry functions_;
  actions::Actions actions_;
  store::MemoryStore store_{1 << 20};
  std::unique_ptr<Engine> engine_;
};

}  // namespace nursery::engine

#endif  // NURSERY_TESTS_ENGINE_JOB_HARNESS_H_
