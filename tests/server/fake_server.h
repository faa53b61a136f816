// The real server with the real engine on a fake model, over a real socket, and a client's side of
// it.
#ifndef RETNET_TESTS_SERVER_FAKE_SERVER_H_
#define RETNET_TESTS_SERVER_FAKE_SERVER_H_

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "retnet/v1/generation.grpc.pb.h"
#include "retnet/v1/sessions.grpc.pb.h"
#include "server/ops/call_metrics.h"
#include "server/server.h"
#include "tests/engine/fake_model.h"
#include "tests/server/fake_tokenizer.h"

namespace retnet {

struct FakeServerOptions {
  FakeModelOptions model;
  EngineOptions engine;
  ServerOptions server;  // which listens on any free port
  bool has_tokenizer = true;
  bool measured = false;  // whether it has metrics
  TextLimits text;

  FakeServerOptions() {
    model.vocab_size = FakeTokenizer::WithBytes().vocab_size();
    model.bos = 1;
    model.eos = {2};
    engine.max_context_length = 4096;
  }
};

// What a stream brought.
struct Streamed {
  std::vector<v1::TokenChunk> chunks;
  std::vector<v1::GenerateResponse::Final> finals;
  grpc::Status status;

  std::string text(int index = 0) const {
    std::string text;
    for (const v1::TokenChunk& chunk : chunks) {
      if (chunk.index() == index) text += chunk.text();
    }
    return text;
  }
  std::vector<v1::Token> tokens(int index = 0) const {
    std::vector<v1::Token> tokens;
    for (const v1::TokenChunk& chunk : chunks) {
      if (chunk.index() != index) continue;
      tokens.insert(tokens.end(), chunk.tokens().begin(), chunk.tokens().end());
    }
    return tokens;
  }
  std::vector<TokenId> ids(int index = 0) const {
    std::vector<TokenId> ids;
    for (const v1::Token& token : tokens(index)) ids.push_back(token.id());
    return ids;
  }
};

class FakeServer {
 public:
  explicit FakeServer(FakeServerOptions options = {})
      : control_(std::make_shared<FakeModelControl>()) {
    engine_ = std::make_unique<Engine>(
        std::make_unique<FakeModel>(std::move(options.model), control_), options.engine);
    options.server.listen = "127.0.0.1:0";
    ServedModel served;
    served.info = engine_->model_info();
    served.max_context_length = options.engine.max_context_length;
    served.text = options.text;
    if (options.has_tokenizer) served.tokenizer = &tokenizer_;
    server_ = *Server::Start(options.server, std::move(served), engine_.get(),
                             options.measured ? &metrics_ : nullptr);
    channel_ = NewChannel();
    stub_ = v1::Generation::NewStub(channel_);
    sessions_ = v1::Sessions::NewStub(channel_);
  }

  // A connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel(grpc::ChannelArguments arguments = {}) const {
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(),
                                     arguments);
  }

  Streamed Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    const auto reader = stub_->Generate(&context, request);
    Streamed streamed;
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
      if (response.has_chunk()) streamed.chunks.push_back(response.chunk());
      if (response.has_final()) streamed.finals.push_back(response.final());
    }
    streamed.status = reader->Finish();
    return streamed;
  }

  grpc::health::v1::HealthCheckResponse::ServingStatus Health(const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    const grpc::Status status =
        grpc::health::v1::Health::NewStub(channel_)->Check(&context, request, &response);
    return status.ok() ? response.status() : grpc::health::v1::HealthCheckResponse::SERVICE_UNKNOWN;
  }

  v1::Generation::Stub& stub() { return *stub_; }
  v1::Sessions::Stub& sessions() { return *sessions_; }
  FakeModelControl& control() { return *control_; }
  Engine& engine() { return *engine_; }
  Server& server() { return *server_; }
  const Server& server() const { return *server_; }
  const CallMetrics& metrics() const { return metrics_; }
  const FakeTokenizer& tokenizer() const { return tokenizer_; }

 private:
  const FakeTokenizer tokenizer_ = FakeTokenizer::WithBytes();
  std::shared_ptr<FakeModelControl> control_;
  std::unique_ptr<Engine> engine_;
  CallMetrics metrics_;
  std::unique_ptr<Server> server_;  // ends before the engine
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Generation::Stub> stub_;
  std::unique_ptr<v1::Sessions::Stub> sessions_;
};

// A model that goes through `text` byte by byte after its first token, whatever was asked, then
// says EOS.
inline FakeServerOptions Reciting(const std::string& text) {
  FakeServerOptions options;
  options.model.next = [text](int32_t position, TokenId) {
    return position < static_cast<int32_t>(text.size()) ? FakeTokenizer::ByteToken(text[position])
                                                        : 2;
  };
  return options;
}

// Greedy, from one given token.
inline v1::GenerateRequest GreedyRequest(int32_t max_tokens) {
  v1::GenerateRequest request;
  request.mutable_token_ids()->add_ids(1);
  request.set_temperature(0);
  request.set_max_tokens(max_tokens);
  return request;
}

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_FAKE_SERVER_H_
