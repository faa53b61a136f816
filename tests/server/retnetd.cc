#include "tests/server/retnetd.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <filesystem>

#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/models/random_checkpoint.h"

namespace retnet {
namespace {

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

std::vector<std::string> ServerArguments(const std::vector<std::string>& flags,
                                         std::optional<int> sequences, const std::string& model,
                                         const std::string& redirections) {
  std::vector<std::string> arguments = {RETNETD_PATH, "--model", model, "--listen", "127.0.0.1:0"};
  if (sequences.has_value()) {
    arguments.insert(arguments.end(), {"--max-sequences", std::to_string(*sequences)});
  }
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  if (!redirections.empty()) {
    const std::vector<std::string> shell = {"/bin/sh", "-c", "exec \"$0\" \"$@\" " + redirections};
    arguments.insert(arguments.begin(), shell.begin(), shell.end());
  }
  return arguments;
}

}  // namespace

const std::string& ModelFolder() {
  static const std::string& folder = *new std::string([] {
    CheckpointShape shape;
    shape.config = R"({"model_type": "retnet", "vocab_size": 420, "hidden_size": 64,
      "num_hidden_layers": 2, "num_heads": 2, "intermediate_size": 96, "bos_token_id": 1,
      "eos_token_id": 2})";
    std::string made = WriteRandomCheckpoint(shape);
    std::filesystem::copy(RETNET_SOURCE_DIR "/tests/testdata/tokenizers/plain/tokenizer.model",
                          made + "/tokenizer.model");
    return made;
  }());
  return folder;
}

Retnetd::Retnetd(const std::vector<std::string>& flags, std::optional<int> sequences,
                 const std::string& model, const std::string& redirections)
    : process_(ServerArguments(flags, sequences, model, redirections)) {
  const std::string line = process_.ReadLine();
  const std::string announcement = "listening on ";
  EXPECT_EQ(line.substr(0, announcement.size()), announcement) << process_.error();
  address_ = line.substr(std::min(line.size(), announcement.size()));
}

std::unique_ptr<v1::Generation::Stub> Retnetd::NewStub() const {
  return v1::Generation::NewStub(NewChannel(address_));
}

std::vector<std::string> Retnetd::Client(std::vector<std::string> arguments) const {
  const std::vector<std::string> first = {RETNET_PATH, "--target", address_};
  arguments.insert(arguments.begin(), first.begin(), first.end());
  return arguments;
}

ClientResult Retnetd::RunClient(const std::vector<std::string>& arguments,
                                const std::string& input) const {
  Process process(Client(arguments), input);
  const int exit_code = process.Wait();
  return {exit_code, process.output(), process.error()};
}

std::string Retnetd::Health(const std::string& service) const {
  using grpc::health::v1::HealthCheckResponse;
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(NewChannel(address_))->Check(&context, request, &response);
  if (!status.ok()) return status.error_message();
  return HealthCheckResponse::ServingStatus_Name(response.status());
}

v1::GenerateRequest Prompt(const std::string& text, int32_t max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.set_max_tokens(max_tokens);
  request.set_seed(7);
  request.set_ignore_eos(true);
  return request;
}

Generated Generate(const v1::GenerateRequest& request, v1::Generation::Stub* stub) {
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, request);
  Generated generated;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (!response.has_chunk()) continue;
    ++generated.chunks;
    generated.text += response.chunk().text();
    for (const v1::Token& token : response.chunk().tokens()) generated.ids.push_back(token.id());
  }
  generated.status = reader->Finish();
  return generated;
}

v1::CompleteResponse Complete(const v1::GenerateRequest& request, v1::Generation::Stub* stub) {
  grpc::ClientContext context;
  v1::CompleteResponse response;
  const grpc::Status status = stub->Complete(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

std::vector<v1::ScoredToken> Score(const v1::ScoreRequest& request, v1::Generation::Stub* stub) {
  grpc::ClientContext context;
  const auto reader = stub->Score(&context, request);
  std::vector<v1::ScoredToken> tokens;
  v1::ScoreResponse response;
  while (reader->Read(&response)) {
    tokens.insert(tokens.end(), response.chunk().tokens().begin(), response.chunk().tokens().end());
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return tokens;
}

}  // namespace retnet
