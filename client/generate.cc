#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/commands.h"
#include "retnet/v1/generation.grpc.pb.h"

namespace retnet {
namespace {

using nlohmann::json;

// One sample, as far as it has come.
struct SampleText {
  std::string text;
  std::vector<int32_t> token_ids;
  json logprobs = json::array();
  json top_logprobs = json::array();
};

void Collect(const v1::TokenChunk& chunk, SampleText* sample) {
  sample->text += chunk.text();
  for (const v1::Token& token : chunk.tokens()) {
    sample->token_ids.push_back(token.id());
    if (!token.has_logprob()) continue;
    sample->logprobs.push_back(token.logprob());
    json candidates = json::array();
    for (const v1::TokenLogprob& top : token.top_logprobs()) {
      candidates.push_back(
          {{"token_id", top.id()}, {"token", top.token()}, {"logprob", top.logprob()}});
    }
    sample->top_logprobs.push_back(std::move(candidates));
  }
}

std::string ReasonName(v1::FinishReason reason) {
  return reason == v1::FINISH_REASON_STOP ? "stop" : "length";
}

json SampleJson(const v1::GenerateRequest& request, const SampleText& sample,
                const v1::Finish& finish) {
  json object = {{"token_ids", sample.token_ids},
                 {"text", sample.text},
                 {"finish_reason", ReasonName(finish.reason())}};
  if (finish.has_stop_string()) object["stop_string"] = finish.stop_string();
  if (finish.has_stop_token_id()) object["stop_token_id"] = finish.stop_token_id();
  if (request.has_logprobs()) object["logprobs"] = sample.logprobs;
  if (request.logprobs() > 0) object["top_logprobs"] = sample.top_logprobs;
  object["timings"] = {{"queued_seconds", finish.timings().queued_seconds()},
                       {"prefill_seconds", finish.timings().prefill_seconds()},
                       {"decode_seconds", finish.timings().decode_seconds()}};
  return object;
}

void PrintJson(const v1::GenerateRequest& request, const std::vector<SampleText>& samples,
               const v1::GenerateResponse::Final& final) {
  json object;
  if (samples.size() == 1) {
    object = SampleJson(request, samples[0], final.finishes(0));
  } else {
    for (size_t i = 0; i < samples.size(); ++i) {
      object["choices"].push_back(SampleJson(request, samples[i], final.finishes(i)));
    }
  }
  object["usage"] = {{"prompt_tokens", final.usage().prompt_tokens()},
                     {"completion_tokens", final.usage().completion_tokens()},
                     {"cached_tokens", final.usage().cached_tokens()},
                     {"drafted_tokens", final.usage().drafted_tokens()},
                     {"accepted_tokens", final.usage().accepted_tokens()}};
  object["seed"] = final.seed();
  if (!final.session_id().empty()) {
    object["session_id"] = final.session_id();
    object["session_tokens"] = final.session_tokens();
  }
  // A token's bytes alone may not be UTF-8.
  std::cout << object.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
}

// Text, or the ids where there is no text at all.
void PrintChunk(const v1::TokenChunk& chunk, bool has_tokenizer) {
  if (has_tokenizer) {
    std::cout << chunk.text();
  } else {
    for (const v1::Token& token : chunk.tokens()) std::cout << token.id() << ' ';
  }
  std::cout << std::flush;
}

void PrintSamples(const std::vector<SampleText>& samples, bool has_tokenizer) {
  for (size_t i = 0; i < samples.size(); ++i) {
    std::cout << "[" << i << "] ";
    if (has_tokenizer) std::cout << samples[i].text;
    for (const int32_t id : samples[i].token_ids) {
      if (!has_tokenizer) std::cout << id << ' ';
    }
    std::cout << "\n";
  }
}

// Ids are shown instead of text for a model that has none.
bool HasTokenizer(v1::Generation::Stub* stub, grpc::Status* status) {
  grpc::ClientContext context;
  v1::GetModelResponse model;
  *status = stub->GetModel(&context, v1::GetModelRequest(), &model);
  return model.has_tokenizer();
}

}  // namespace

ExitCode RunGenerate(const v1::GenerateRequest& request, Client* client) {
  const auto stub = v1::Generation::NewStub(client->channel());
  // Several samples come mixed, so they are shown when all are there.
  const bool streams = !client->json() && request.n() <= 1;
  bool has_tokenizer = true;
  if (!client->json() && request.has_token_ids()) {
    grpc::Status status;
    has_tokenizer = HasTokenizer(stub.get(), &status);
    if (!status.ok()) return client->Report(status);
  }
  std::vector<SampleText> samples(request.n() > 1 ? request.n() : 1);
  v1::GenerateResponse::Final final;
  v1::GenerateResponse response;
  bool printed = false;
  const auto reader = stub->Generate(client->context(), request);
  while (reader->Read(&response)) {
    if (response.has_final()) final = response.final();
    if (!response.has_chunk()) continue;
    if (streams) {
      PrintChunk(response.chunk(), has_tokenizer);
      printed = true;
      if (!std::cout) client->context()->TryCancel();  // nobody gets the rest
    } else {
      Collect(response.chunk(), &samples.at(response.chunk().index()));
    }
  }
  const grpc::Status status = reader->Finish();
  if (!std::cout) return kExitOutput;
  if (streams && (printed || status.ok())) std::cout << std::endl;
  if (!status.ok()) return client->Report(status);
  if (client->json()) {
    PrintJson(request, samples, final);
  } else if (!streams) {
    PrintSamples(samples, has_tokenizer);
  }
  if (!client->json() && request.session_id().empty() && !final.session_id().empty()) {
    std::cerr << "session " << final.session_id() << std::endl;
  }
  return kExitOk;
}

}  // namespace retnet
