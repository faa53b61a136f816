#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "client/commands.h"
#include "retnet/v1/generation.grpc.pb.h"

namespace retnet {
namespace {

using nlohmann::json;

// exp(−total / number of scored tokens); null where none is scored.
json Perplexity(const v1::ScoreResponse::Totals& totals) {
  if (totals.scored_tokens() == 0) return nullptr;
  return std::exp(-totals.total_logprob() / totals.scored_tokens());
}

// −total / (ln 2 · bytes of the scored text); null where there is no text.
json BitsPerByte(const v1::ScoreResponse::Totals& totals) {
  if (totals.scored_bytes() <= 0) return nullptr;
  return -totals.total_logprob() / (std::log(2.0) * static_cast<double>(totals.scored_bytes()));
}

}  // namespace

ExitCode RunScore(const v1::ScoreRequest& request, Client* client) {
  const auto stub = v1::Generation::NewStub(client->channel());
  json token_ids = json::array();
  json logprobs = json::array();
  v1::ScoreResponse::Totals totals;
  v1::ScoreResponse response;
  const auto reader = stub->Score(client->context(), request);
  while (reader->Read(&response)) {
    if (response.has_totals()) totals = response.totals();
    if (!client->json()) continue;
    for (const v1::ScoredToken& token : response.chunk().tokens()) {
      token_ids.push_back(token.id());
      logprobs.push_back(token.has_logprob() ? json(token.logprob()) : json(nullptr));
    }
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return client->Report(status);
  if (client->json()) {
    std::cout << json{{"token_ids", token_ids},
                      {"logprobs", logprobs},
                      {"total", totals.total_logprob()},
                      {"perplexity", Perplexity(totals)},
                      {"bits_per_byte", BitsPerByte(totals)}}
              << std::endl;
    return kExitOk;
  }
  std::cout << "tokens         " << totals.tokens() << "\n"
            << "total          " << totals.total_logprob() << "\n"
            << "perplexity     " << Perplexity(totals) << "\n"
            << "bits per byte  " << BitsPerByte(totals) << std::endl;
  return kExitOk;
}

}  // namespace retnet
