// What a client asks, as what the engine is asked: defaults filled in, text as token ids.
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

// What requests are read against.
struct ServedModel {
  ModelInfo info;
  int32_t max_context_length = 0;
  const Tokenizer* tokenizer = nullptr;  // nullptr: the model serves token ids only
  GenerationConfig defaults;
  int32_t max_draft_tokens = 0;  // of a request that does not say
};

// What a call needs of its session before it can be submitted.
struct SessionNeeds {
  bool make = false;  // that it is created
  bool look = false;  // whether it has a history
};

struct GenerationPlan {
  Request request;  // of sample 0; without the owner of its session
  int32_t samples = 1;
  TextStops text_stops;
  SessionNeeds needs;
};

// INVALID_ARGUMENT for what a bound of the .proto forbids and the engine does not check;
// FAILED_PRECONDITION for text without a tokenizer.
absl::StatusOr<GenerationPlan> TranslateGenerate(const v1::GenerateRequest& wire,
                                                 const ServedModel& model);
// The same without a prompt and a session, whose fields must not be set.
absl::StatusOr<GenerationPlan> TranslateAnswer(const v1::GenerateRequest& wire,
                                               const ServedModel& model);
struct ScorePlan {
  Request request;  // as of a GenerationPlan
  SessionNeeds needs;
  bool follows_history = false;  // the first token has a log-probability too
  int64_t text_bytes = 0;        // of all tokens; 0 without a tokenizer
  int64_t first_bytes = 0;       // of the first token among them
};
absl::StatusOr<ScorePlan> TranslateScore(const v1::ScoreRequest& wire, const ServedModel& model);
// The BOS that comes before a text with this add_bos; kNoToken if none does. INVALID_ARGUMENT where
// it is asked for and there is none.
absl::StatusOr<TokenId> BosBefore(std::optional<bool> add_bos, const ServedModel& model);
// The ids of a text, BOS included if asked for.
absl::StatusOr<std::vector<TokenId>> TranslateTokenize(const v1::TokenizeRequest& wire,
                                                       const ServedModel& model);
// The text of ids, always UTF-8.
absl::StatusOr<std::string> TranslateDetokenize(const v1::DetokenizeRequest& wire,
                                                const ServedModel& model);

// Whether a request that sets nothing would be accepted: generation_config.json may name what a
// request may not.
absl::Status CheckDefaults(const ServedModel& model);

// One request for each sample. Sample 0 has the plan's seed; equal seeds give equal samples.
std::vector<Request> SampleRequests(const GenerationPlan& plan, const Tokenizer* tokenizer);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_REQUEST_TRANSLATION_H_
