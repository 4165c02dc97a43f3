// Runs a job on a server, then starts one that would take too long, watches it and cancels it.
//
//   nightly unix:/run/nursery/nursery.sock
#include <chrono>
#include <iostream>

#include "nursery/client/client.h"

namespace nc = nursery::client;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;

namespace {

nc::Job Nightly() {
  return nc::Job("nightly").Timeout(10min).Root(
      nc::Group()
          .Limit(8)
          .Add(nc::Map("squares", nc::Items::Range(1, 6),
                       nc::Exec("", {"expr", "${{ item }}", "*", "${{ item }}"}))
                   .Workers(2))
          .Add(nc::Exec("count", {"wc", "-l"})
                   .StdinOutputOf("squares")
                   .Needs({"squares"})
                   .Timeout(30s)
                   .Retry(nc::Retry(3))));
}

nc::Job TooLong() {
  return nc::Job("too-long")
      .Root(nc::Group()
                .Add(nc::Exec("one", {"sleep", "600"}))
                .Add(nc::Exec("two", {"sleep", "600"})));
}

int Fail(const absl::Status& status) {
  std::cerr << status << '\n';
  return 1;
}

// Until both programs run; the watch is then cancelled by its own handler.
void WatchUntilBusy(nc::Client& client, const std::string& job) {
  nc::CallOptions call(1min);
  call.canceller.emplace();
  int started = 0;
  nc::Handlers handlers;
  handlers.on_event = [&](const nc::Event& event) {
    if (event.kind != "attempt_started") return;
    std::cout << event.path << " has started\n";
    if (++started == 2) call.canceller->Cancel();
  };
  const absl::Status watched = client.Watch(job, nc::WatchOptions(), handlers, call);
  if (watched.code() != absl::StatusCode::kCancelled) std::cerr << watched << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: nightly ADDRESS\n";
    return 2;
  }
  nc::ConnectOptions options;
  options.address = argv[1];
  const absl::StatusOr<std::unique_ptr<nc::Client>> client = nc::Client::Connect(options);
  if (!client.ok()) return Fail(client.status());

  nc::Handlers handlers;
  handlers.on_event = [](const nc::Event& event) {
    if (event.kind != "node_ended") return;
    std::cout << event.path << ' ' << nc::StateName(event.state) << '\n';
  };
  const auto result = (*client)->Run(Nightly(), nc::RunOptions(), handlers, nc::CallOptions(10min));
  if (!result.ok()) return Fail(result.status());
  std::cout << "lines: " << result->output;

  const absl::StatusOr<nc::JobInfo> job = (*client)->Submit(TooLong());
  if (!job.ok()) return Fail(job.status());
  WatchUntilBusy(**client, job->name);
  nc::CancelOptions cancel;
  cancel.reason = "enough";
  const absl::StatusOr<nc::CancelReceipt> receipt = (*client)->Cancel(job->name, cancel);
  if (!receipt.ok()) return Fail(receipt.status());
  std::cout << "interrupted: " << receipt->interrupted
            << (receipt->complete ? ", nothing is left\n" : ", not complete\n");
  return receipt->complete ? 0 : 1;
}
