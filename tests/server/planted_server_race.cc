// Has a data race on purpose, in a callback of gRPC: a reactor counts without a mutex what another
// thread reads, which nothing of gRPC's ever orders with it. A thread sanitizer that does not
// report it is blind to the server's tests, or tests/tsan.supp hides too much.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "retnet/v1/generation.grpc.pb.h"

namespace retnet {
namespace {

class RacyService : public v1::Generation::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest*, v1::GetModelResponse*) override {
    ++calls_;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  int ReadUnordered() const { return calls_; }

 private:
  int calls_ = 0;
};

int Run() {
  RacyService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto stub = v1::Generation::NewStub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  std::atomic<bool> done = false;
  int seen = 0;
  std::thread reader([&] {
    while (!done.load(std::memory_order_relaxed)) {
      seen += service.ReadUnordered();
      std::this_thread::yield();
    }
  });
  bool ok = true;
  for (int i = 0; i < 100; ++i) {
    grpc::ClientContext context;
    v1::GetModelResponse response;
    ok = stub->GetModel(&context, v1::GetModelRequest(), &response).ok() && ok;
  }
  done.store(true, std::memory_order_relaxed);
  reader.join();
  std::printf("%d seen\n", seen);
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace retnet

int main() { return retnet::Run(); }
