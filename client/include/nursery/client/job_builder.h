// Job and its nodes: a job tree written in C++, with the fields that a job file has. What a field
// means, and its default, stands in the tables of README.md; strings may hold ${{ expressions }}.
//
// Nodes are values. Nothing is checked here but what only the builder can see: the server reports
// everything that is wrong with a tree at once when it is submitted.
//
// Thread safety: different objects on any thread; one object as any value.
//
//   Job job("nightly");
//   job.Timeout(10min).Root(
//       Group().Limit(8)
//           .Add(Exec("fetch", {"make"}).Timeout(30s))
//           .Add(Exec("report", {"./report"}).Needs({"fetch"})));
//   absl::StatusOr<JobInfo> result = client->Run(job);
#ifndef NURSERY_CLIENT_JOB_BUILDER_H_
#define NURSERY_CLIENT_JOB_BUILDER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nursery/core/clock.h"
#include "nursery/core/join.h"

namespace nursery::client {

namespace internal {
struct JobMessage;
struct NodeMessage;
struct ItemsMessage;
}  // namespace internal

enum class When { kSuccess, kFailure, kAlways };

// Attempts after a failed one. What is unset has the default of a job file.
struct Retry {
  explicit Retry(int attempts) : max_attempts(attempts) {}

  int max_attempts;  // in total
  std::optional<Duration> initial;
  std::optional<Duration> max;
  std::optional<double> multiplier;
  std::optional<double> jitter;  // 0 to 1
  std::vector<int> exit_codes;   // only these; empty: every failure
};

// Bounds of a program; 0: as the server has them.
struct ExecLimits {
  ExecLimits() = default;

  // Of everything that it starts together; AttemptInfo tells those that the server cannot hold.
  int64_t memory = 0;  // bytes
  int pids = 0;
  int cpu_weight = 0;  // others have 100
  // Of each process.
  int open_files = 0;
  int64_t file_size = 0;      // bytes
  int64_t address_space = 0;  // bytes
  Duration cpu_time{};
  bool core = false;
  int nice = 0;
};

// A vertex of the tree, of any kind: what Add and Map take.
class Node {
 public:
  Node(const Node& other);
  // Leaves `other` good for nothing but destruction and assignment.
  Node(Node&& other) noexcept;
  Node& operator=(Node other) noexcept;
  ~Node();

  const internal::NodeMessage& message() const { return *message_; }

 protected:
  explicit Node(const std::string& name);
  void SetNeeds(const std::vector<std::string>& siblings);
  void SetWhen(When when);
  void SetAllowFailure();
  void SetTimeout(std::optional<Duration> limit);
  void SetQueueTimeout(Duration limit);
  void SetAttemptTimeout(std::optional<Duration> limit);
  void SetIdleTimeout(Duration limit);
  void SetGrace(Duration grace);
  void SetRetry(const Retry& retry);
  void SetMaxInterruptions(int count);
  void AddAcquire(const std::string& semaphore, int64_t weight, bool of_server);
  void SetPool(const std::string& pool);
  void SetPriority(int priority);
  void SetFinally(const Node& action);
  void SetNotBefore(WallTime time);
  void SetDeadline(WallTime time);

  std::unique_ptr<internal::NodeMessage> message_;  // null: moved from
};

// What every kind of node may say. Self is the kind, so that calls can be chained.
template <class Self>
class NodeFields : public Node {
 public:
  Self& Needs(const std::vector<std::string>& siblings) { return SetNeeds(siblings), self(); }
  Self& When(client::When when) { return SetWhen(when), self(); }
  Self& AllowFailure() { return SetAllowFailure(), self(); }
  Self& Timeout(Duration limit) { return SetTimeout(limit), self(); }
  Self& NoTimeout() { return SetTimeout(std::nullopt), self(); }
  Self& QueueTimeout(Duration limit) { return SetQueueTimeout(limit), self(); }
  Self& Grace(Duration grace) { return SetGrace(grace), self(); }
  Self& Acquire(const std::string& semaphore, int64_t weight = 1) {
    return AddAcquire(semaphore, weight, false), self();
  }
  // A semaphore of the server's configuration.
  Self& AcquireOfServer(const std::string& semaphore, int64_t weight = 1) {
    return AddAcquire(semaphore, weight, true), self();
  }
  Self& Pool(const std::string& pool) { return SetPool(pool), self(); }
  Self& Priority(int priority) { return SetPriority(priority), self(); }
  // `action` is an Exec, Call or Sleep without a name, of which nothing but Timeout may be set.
  Self& Finally(const Node& action) { return SetFinally(action), self(); }
  Self& NotBefore(WallTime time) { return SetNotBefore(time), self(); }
  Self& Deadline(WallTime time) { return SetDeadline(time), self(); }

 protected:
  using Node::Node;
  Self& self() { return static_cast<Self&>(*this); }

 private:
  friend Self;
  template <class>
  friend class ActionFields;
  NodeFields() = default;
};

// What actions may say besides.
template <class Self>
class ActionFields : public NodeFields<Self> {
 public:
  Self& AttemptTimeout(Duration limit) { return this->SetAttemptTimeout(limit), this->self(); }
  Self& NoAttemptTimeout() { return this->SetAttemptTimeout(std::nullopt), this->self(); }
  Self& Retry(const client::Retry& retry) { return this->SetRetry(retry), this->self(); }
  Self& MaxInterruptions(int count) { return this->SetMaxInterruptions(count), this->self(); }

 protected:
  using NodeFields<Self>::NodeFields;

 private:
  friend Self;
  ActionFields() = default;
};

// Children, run as their needs allow. The root of a job needs no name, nor does the node of a map.
class Group : public NodeFields<Group> {
 public:
  explicit Group(const std::string& name = "");

  Group& Add(const Node& child);
  Group& Limit(int children_at_once);
  Group& Join(const nursery::Join& join);
  // Join::MaxFailures as a share of the children, more than 0 to 100.
  Group& MaxFailuresPercent(double percent);
};

// What a map iterates over.
class Items {
 public:
  struct Axis {
    std::string name;
    std::vector<std::string> values;
  };

  static Items List(const std::vector<std::string>& texts);
  // Each a JSON value; ${{ item.FIELD }} reads a field of an object.
  static Items JsonList(const std::vector<std::string>& values);
  // The lines of a file of this machine, read now.
  static absl::StatusOr<Items> FileLines(const std::string& path);
  // from, from + step, ... up to but not including `to`.
  static Items Range(int64_t from, int64_t to, int64_t step = 1);
  // All combinations, the last axis fastest.
  static Items Matrix(const std::vector<Axis>& axes);
  // The output of a node in `needs`: its lines, or the outputs of a map's items.
  static Items OutputOf(const std::string& sibling);

  // Of a matrix: leaves out the combinations that have all these values.
  Items& Exclude(const std::map<std::string, std::string>& values);

  const internal::ItemsMessage& message() const { return *message_; }

 private:
  Items();
  // Shared by copies until one of them is changed.
  std::shared_ptr<internal::ItemsMessage> message_;
};

// `node` once for each item.
class Map : public NodeFields<Map> {
 public:
  Map(const std::string& name, const Items& items, const Node& node);

  Map& Workers(int items_at_once);
  // Names an item in paths: fetch[KEY] instead of fetch[17].
  Map& Key(const std::string& key);
  // What expressions call the item, instead of "item".
  Map& As(const std::string& name);
  Map& Join(const nursery::Join& join);
  Map& MaxFailuresPercent(double percent);
};

// A program; no shell unless `argv` starts one.
class Exec : public ActionFields<Exec> {
 public:
  Exec(const std::string& name, const std::vector<std::string>& argv);

  Exec& Env(const std::string& name, const std::string& value);
  Exec& Cwd(const std::string& directory);
  // At most one of the three; the last one counts.
  Exec& StdinText(const std::string& text);
  Exec& StdinFile(const std::string& path);
  Exec& StdinOutputOf(const std::string& sibling);
  // Of the output, as much as others may read of it.
  Exec& MaxOutput(int64_t bytes);
  // One pipe for stdout and stderr.
  Exec& MergeOutput();
  // Anything but one JSON value fails.
  Exec& JsonOutput();
  Exec& Limits(const ExecLimits& limits);
  // An account that the server's configuration allows.
  Exec& User(const std::string& account);
  Exec& IdleTimeout(Duration limit) { return SetIdleTimeout(limit), *this; }
};

// A function inside the server.
class Call : public ActionFields<Call> {
 public:
  Call(const std::string& name, const std::string& function, const std::string& argument = "");
};

// Waits.
class Sleep : public ActionFields<Sleep> {
 public:
  Sleep(const std::string& name, Duration duration);
};

// What all actions of a job inherit unless they say otherwise; unset or empty: nothing.
struct Defaults {
  Defaults() = default;

  std::optional<Duration> timeout;
  std::optional<Duration> attempt_timeout;
  std::optional<Retry> retry;
  std::map<std::string, std::string> env;  // merged; the action's own win
  std::string pool;
  std::string cwd;
  std::optional<Duration> grace;
};

// One tree of work.
class Job {
 public:
  explicit Job(const std::string& name);
  Job(const Job& other);
  // Leaves `other` good for nothing but destruction and assignment.
  Job(Job&& other) noexcept;
  Job& operator=(Job other) noexcept;
  ~Job();

  Job& Root(const Node& root);
  Job& Timeout(Duration limit);
  Job& NoTimeout();
  // An absolute directory of the server's machine, or "scratch" (the default).
  Job& Workdir(const std::string& directory);
  Job& Defaults(const client::Defaults& defaults);
  Job& Label(const std::string& name, const std::string& value);
  Job& Priority(int priority);
  Job& Semaphore(const std::string& name, int64_t size);
  Job& SemaphoreUnits(const std::string& name, const std::vector<std::string>& units);
  // Declares a parameter; no default: its argument must be given.
  Job& Param(const std::string& name, const std::optional<std::string>& default_value);
  Job& Argument(const std::string& param, const std::string& value);

  const internal::JobMessage& message() const { return *message_; }

 private:
  std::unique_ptr<internal::JobMessage> message_;  // null: moved from
};

}  // namespace nursery::client

#endif  // NURSERY_CLIENT_JOB_BUILDER_H_
