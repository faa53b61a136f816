#include <charconv>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "client/commands.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "retnet/v1/generation.grpc.pb.h"

namespace retnet {
namespace {

using nlohmann::json;

// The shortest number that is this float, so that 0.8f is shown as 0.8.
double Shortest(float value) {
  char text[32];
  *std::to_chars(text, text + sizeof(text) - 1, value).ptr = '\0';
  return std::strtod(text, nullptr);
}

json DefaultsJson(const v1::SamplingDefaults& defaults) {
  json object = json::object();
  if (defaults.has_temperature()) object["temperature"] = Shortest(defaults.temperature());
  if (defaults.has_top_k()) object["top_k"] = defaults.top_k();
  if (defaults.has_top_p()) object["top_p"] = Shortest(defaults.top_p());
  if (defaults.has_min_p()) object["min_p"] = Shortest(defaults.min_p());
  if (defaults.has_repetition_penalty()) {
    object["repetition_penalty"] = Shortest(defaults.repetition_penalty());
  }
  if (defaults.has_max_tokens()) object["max_tokens"] = defaults.max_tokens();
  return object;
}

json ModelJson(const v1::GetModelResponse& model) {
  json object = {{"name", model.name()},
                 {"backend", model.backend()},
                 {"vocab_size", model.vocab_size()},
                 {"parameters", model.parameters()},
                 {"weight_bytes", model.weight_bytes()},
                 {"max_context_length", model.max_context_length()},
                 {"max_sequences", model.max_sequences()},
                 {"max_queue", model.max_queue()},
                 {"max_text_bytes", model.max_text_bytes()},
                 {"state_bytes", model.state_bytes()},
                 {"tail_token_bytes", model.tail_token_bytes()},
                 {"bos_token_id", nullptr},
                 {"eos_token_ids", model.eos_token_ids()},
                 {"has_tokenizer", model.has_tokenizer()},
                 {"adds_bos", model.adds_bos()},
                 {"sampling_defaults", DefaultsJson(model.sampling_defaults())},
                 {"server_version", model.server_version()}};
  if (model.has_bos_token_id()) object["bos_token_id"] = model.bos_token_id();
  return object;
}

}  // namespace

ExitCode RunTokenize(const v1::TokenizeRequest& request, Client* client) {
  v1::TokenizeResponse response;
  const grpc::Status status =
      v1::Generation::NewStub(client->channel())->Tokenize(client->context(), request, &response);
  if (!status.ok()) return client->Report(status);
  if (client->json()) {
    std::cout << json{{"token_ids", response.token_ids()}} << std::endl;
    return kExitOk;
  }
  // As --token-ids takes them.
  for (int i = 0; i < response.token_ids_size(); ++i) {
    std::cout << (i > 0 ? "," : "") << response.token_ids(i);
  }
  std::cout << std::endl;
  return kExitOk;
}

ExitCode RunDetokenize(const v1::DetokenizeRequest& request, Client* client) {
  v1::DetokenizeResponse response;
  const grpc::Status status =
      v1::Generation::NewStub(client->channel())->Detokenize(client->context(), request, &response);
  if (!status.ok()) return client->Report(status);
  if (client->json()) {
    std::cout << json{{"text", response.text()}} << std::endl;
  } else {
    std::cout << response.text() << std::endl;
  }
  return kExitOk;
}

ExitCode RunModel(Client* client) {
  v1::GetModelResponse response;
  const grpc::Status status = v1::Generation::NewStub(client->channel())
                                  ->GetModel(client->context(), v1::GetModelRequest(), &response);
  if (!status.ok()) return client->Report(status);
  const json object = ModelJson(response);
  if (client->json()) {
    std::cout << object << std::endl;
    return kExitOk;
  }
  for (const auto& [key, value] : object.items()) {
    std::cout << key << ": " << (value.is_string() ? value.get<std::string>() : value.dump())
              << "\n";
  }
  std::cout << std::flush;
  return kExitOk;
}

ExitCode RunHealth(const std::string& service, Client* client) {
  using grpc::health::v1::HealthCheckResponse;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  const grpc::Status status = grpc::health::v1::Health::NewStub(client->channel())
                                  ->Check(client->context(), request, &response);
  if (!status.ok()) return client->Report(status);
  const std::string name = HealthCheckResponse::ServingStatus_Name(response.status());
  if (client->json()) {
    std::cout << json{{"status", name}} << std::endl;
  } else {
    std::cout << name << std::endl;
  }
  return response.status() == HealthCheckResponse::SERVING ? kExitOk : kExitRefused;
}

}  // namespace retnet
