// Turns a client's request into the engine's request: fills in defaults and tokenizes text.
#ifndef RETNET_SERVER_WIRE_REQUEST_TRANSLATION_H_
#define RETNET_SERVER_WIRE_REQUEST_TRANSLATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request.h"
#include "models/generation_config.h"
#include "models/model.h"
#include "models/tokenizer.h"
#include "retnet/v1/generation.pb.h"
#include "server/text/detokenizer.h"

namespace retnet {

// The model that requests are for, with its defaults and limits.
struct ServedModel {
  ModelInfo info;
  int32_t max_context_length = 0;
  const Tokenizer* tokenizer = nullptr;  // nullptr: the model serves token ids only
  GenerationConfig defaults;
  int32_t max_draft_tokens = 0;  // the default of a request
};

// What has to happen to a call's session before the call can be submitted.
struct SessionNeeds {
  bool make = false;  // create it
  bool look = false;  // look up whether it has a history
};

struct GenerationPlan {
  Request request;  // of sample 0; the owner of its session is not set yet
  int32_t samples = 1;
  TextStops text_stops;
  SessionNeeds needs;
};

// INVALID_ARGUMENT for a value outside a bound of the .proto that the engine does not check.
// FAILED_PRECONDITION for text if the model has no tokenizer.
absl::StatusOr<GenerationPlan> TranslateGenerate(const v1::GenerateRequest& wire,
                                                 const ServedModel& model);
// The same for a `go` of Converse, which has neither prompt nor session: these fields must not be
// set.
absl::StatusOr<GenerationPlan> TranslateAnswer(const v1::GenerateRequest& wire,
                                               const ServedModel& model);
struct ScorePlan {
  Request request;  // the owner of its session is not set yet
  SessionNeeds needs;
  bool follows_history = false;  // a history precedes the first token, so it has a log-probability
  int64_t text_bytes = 0;        // length of all tokens' text; 0 if there is no tokenizer
  int64_t first_bytes = 0;       // the part of it that is the first token's
};
absl::StatusOr<ScorePlan> TranslateScore(const v1::ScoreRequest& wire, const ServedModel& model);
// The BOS (beginning of sequence) token to put before a text, or kNoToken. INVALID_ARGUMENT if
// add_bos is true and the model has no BOS.
absl::StatusOr<TokenId> BosBefore(std::optional<bool> add_bos, const ServedModel& model);
// The token ids of a text, with BOS if the request asks for it.
absl::StatusOr<std::vector<TokenId>> TranslateTokenize(const v1::TokenizeRequest& wire,
                                                       const ServedModel& model);
// The text of token ids. Always valid UTF-8.
absl::StatusOr<std::string> TranslateDetokenize(const v1::DetokenizeRequest& wire,
                                                const ServedModel& model);

// INVALID_ARGUMENT if a request that sets nothing would be refused: generation_config.json may hold
// values that a request may not have.
absl::Status CheckDefaults(const ServedModel& model);

// One request for each sample. Sample 0 has the plan's seed. Equal seeds give equal samples.
std::vector<Request> SampleRequests(const GenerationPlan& plan, const Tokenizer* tokenizer);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_REQUEST_TRANSLATION_H_
