// The echo service on C++ gRPC: an asynchronous generic service with default settings and one thread on its
// completion queue. Messages are passed on as the buffers they came in.
//
//   echo PORT

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string>

namespace {

// One call: awaited, read, answered, gone.
class Call {
 public:
  Call(grpc::AsyncGenericService& service, grpc::ServerCompletionQueue& queue)
      : service_(service), queue_(queue), stream_(&context_) {
    service.RequestCall(&context_, &stream_, &queue, &queue, this);
  }

  // The operation that was begun last has ended; `ok` says whether it did what it should.
  void Proceed(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    switch (state_) {
      case State::kAwaited:
        // Others may come while this one is served.
        new Call(service_, queue_);
        state_ = State::kReading;
        stream_.Read(&message_, this);
        break;
      case State::kReading:
        state_ = State::kAnswering;
        stream_.WriteAndFinish(message_, grpc::WriteOptions(), grpc::Status::OK, this);
        break;
      case State::kAnswering:
        delete this;
        break;
    }
  }

 private:
  enum class State { kAwaited, kReading, kAnswering };

  grpc::AsyncGenericService& service_;
  grpc::ServerCompletionQueue& queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer message_;
  State state_ = State::kAwaited;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "which port?\n";
    return 2;
  }
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(std::string("127.0.0.1:") + argv[1], grpc::InsecureServerCredentials());
  builder.RegisterAsyncGenericService(&service);
  auto queue = builder.AddCompletionQueue();
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::cerr << "cannot serve on port " << argv[1] << "\n";
    return 1;
  }
  // As many calls awaited at once as clients here ever have under way.
  constexpr int kAwaited = 512;
  for (int i = 0; i < kAwaited; ++i) new Call(service, *queue);
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<Call*>(tag)->Proceed(ok);
  return 0;
}
