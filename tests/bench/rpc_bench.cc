// What a call costs: a bare unary echo on gRPC's completion queues, and a client that loads it, or
// nurseryd's RunJob with one no-op, in the same way. Prints one JSON object. Not a test.
//
//   rpc_bench serve unix:/tmp/echo.sock
//   rpc_bench echo unix:/tmp/echo.sock COUNT AT_ONCE
//   rpc_bench run-job unix:/tmp/nursery.sock COUNT AT_ONCE
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nursery/v1/job_service.grpc.pb.h"

namespace {

namespace v1 = nursery::v1;
using Time = std::chrono::steady_clock::time_point;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "rpc_bench: %s\n", what.c_str());
  std::exit(1);
}

// What every tag of a queue is.
class Step {
 public:
  virtual ~Step() = default;
  virtual void Proceed(bool ok) = 0;
};

void Drive(grpc::CompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<Step*>(tag)->Proceed(ok);
}

// One call of the echo server, which deletes itself when it has been answered.
class EchoCall : public Step {
 public:
  EchoCall(grpc::AsyncGenericService* service, grpc::ServerCompletionQueue* queue)
      : service_(service), queue_(queue), stream_(&context_) {
    service_->RequestCall(&context_, &stream_, queue_, queue_, this);
  }

  void Proceed(bool ok) override {
    if (!ok || next_ == Next::kEnd) {
      delete this;
    } else if (next_ == Next::kRead) {
      new EchoCall(service_, queue_);
      next_ = Next::kAnswer;
      stream_.Read(&message_, this);
    } else {
      next_ = Next::kEnd;
      stream_.WriteAndFinish(message_, grpc::WriteOptions(), grpc::Status::OK, this);
    }
  }

 private:
  enum class Next { kRead, kAnswer, kEnd };

  grpc::AsyncGenericService* const service_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer message_;
  Next next_ = Next::kRead;
};

void ServeEcho(const std::string& address) {
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterAsyncGenericService(&service);
  const std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) Fail("cannot listen on " + address);
  std::puts("ready");
  std::fflush(stdout);
  new EchoCall(&service, queue.get());
  Drive(queue.get());
}

// How many calls are to be made, and what those that have ended took.
struct Load {
  grpc::CompletionQueue queue;
  int left = 0;
  std::vector<double> micros;
  int open = 0;

  bool Take() {
    if (left == 0) return false;
    --left;
    return true;
  }
  // One of the loops that make calls has ended.
  void Close() {
    if (--open == 0) queue.Shutdown();
  }
};

// Makes one call after another, as long as there are calls to be made.
class Caller : public Step {
 public:
  explicit Caller(Load* load) : load_(load) { ++load_->open; }

  void Begin() {
    if (!load_->Take()) return load_->Close();
    started_ = std::chrono::steady_clock::now();
    Start();
  }

 protected:
  virtual void Start() = 0;
  void End(const grpc::Status& status) {
    if (!status.ok()) Fail(status.error_message());
    const std::chrono::duration<double, std::micro> took =
        std::chrono::steady_clock::now() - started_;
    load_->micros.push_back(took.count());
    Begin();
  }

  Load* const load_;
  std::optional<grpc::ClientContext> context_;
  grpc::Status status_;

 private:
  Time started_;
};

v1::RunJobRequest OneNoop() {
  v1::RunJobRequest request;
  request.mutable_job_spec()->set_name("bench");
  request.mutable_job_spec()->mutable_root()->mutable_call()->set_function("noop");
  return request;
}

class EchoCaller : public Caller {
 public:
  EchoCaller(Load* load, const std::shared_ptr<grpc::Channel>& channel)
      : Caller(load), stub_(channel) {
    const std::string bytes = OneNoop().SerializeAsString();
    const grpc::Slice slice(bytes);
    request_ = grpc::ByteBuffer(&slice, 1);
  }

  void Proceed(bool) override { End(status_); }

 private:
  void Start() override {
    call_.reset();  // it lives in the call of its context
    context_.emplace();
    call_ = stub_.PrepareUnaryCall(&*context_, "/bench/Echo", request_, &load_->queue);
    call_->StartCall();
    call_->Finish(&response_, &status_, this);
  }

  grpc::GenericStub stub_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> call_;
};

class RunJobCaller : public Caller {
 public:
  RunJobCaller(Load* load, const std::shared_ptr<grpc::Channel>& channel)
      : Caller(load), stub_(v1::JobService::NewStub(channel)), request_(OneNoop()) {}

  void Proceed(bool ok) override {
    if (ends_) {
      if (status_.ok() && response_.result().state() != v1::NODE_STATE_SUCCEEDED) {
        Fail("a no-op did not succeed");
      }
      return End(status_);
    }
    // The result is the last message.
    if (++steps_ > 1 && (!ok || response_.has_result())) {
      ends_ = true;
      call_->Finish(&status_, this);
    } else {
      call_->Read(&response_, this);
    }
  }

 private:
  void Start() override {
    ends_ = false;
    steps_ = 0;
    response_.Clear();
    call_.reset();
    context_.emplace();
    call_ = stub_->PrepareAsyncRunJob(&*context_, request_, &load_->queue);
    call_->StartCall(this);
  }

  const std::unique_ptr<v1::JobService::Stub> stub_;
  const v1::RunJobRequest request_;
  v1::RunJobResponse response_;
  std::unique_ptr<grpc::ClientAsyncReader<v1::RunJobResponse>> call_;
  bool ends_ = false;
  int steps_ = 0;
};

template <class EachCaller>
void Make(const std::shared_ptr<grpc::Channel>& channel, int count, int at_once) {
  Load load;
  load.left = count;
  std::vector<std::unique_ptr<EachCaller>> callers;
  for (int i = 0; i < at_once; ++i) {
    callers.push_back(std::make_unique<EachCaller>(&load, channel));
  }
  const Time start = std::chrono::steady_clock::now();
  for (const auto& caller : callers) caller->Begin();
  Drive(&load.queue);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::sort(load.micros.begin(), load.micros.end());
  std::printf("{\"rate\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", count / took.count(),
              load.micros[load.micros.size() / 2], load.micros[load.micros.size() * 99 / 100]);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "serve") {
    ServeEcho(words[1]);
    return 0;
  }
  const bool is_load = words.size() == 4 && (words[0] == "echo" || words[0] == "run-job");
  const int count = is_load ? std::atoi(words[2].c_str()) : 0;
  const int at_once = is_load ? std::atoi(words[3].c_str()) : 0;
  if (count < 1 || at_once < 1) {
    std::fputs("usage: rpc_bench serve ADDRESS | echo|run-job ADDRESS COUNT AT_ONCE\n", stderr);
    return 2;
  }
  const auto channel = grpc::CreateChannel(words[1], grpc::InsecureChannelCredentials());
  if (words[0] == "echo") {
    Make<EchoCaller>(channel, count, at_once);
  } else {
    Make<RunJobCaller>(channel, count, at_once);
  }
}
