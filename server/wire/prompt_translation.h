// Turns what a client sends to be computed, text or token ids, into the prompt of a request. Texts
// are tokenized part by part: see ContinuePrompt.
#ifndef RETNET_SERVER_WIRE_PROMPT_TRANSLATION_H_
#define RETNET_SERVER_WIRE_PROMPT_TRANSLATION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request.h"
#include "retnet/v1/generation.pb.h"
#include "server/text/text_head.h"
#include "server/wire/prompt_text.h"
#include "server/wire/served_model.h"
#include "server/wire/session_translation.h"

namespace retnet {

// What has to happen to a call's session before the call can be submitted.
struct SessionNeeds {
  bool make = false;  // create it
  bool look = false;  // look up whether it has a history
};

// A request whose prompt may be a text that is still to be tokenized. The client's message must
// outlive that.
struct PromptPlan {
  Request request;  // of sample 0; the owner of its session is not set yet
  SessionNeeds needs;
  std::shared_ptr<PromptText> text;  // null once the request's prompt is complete
  // On a session: the character that the request's tokens may complete. Its head fills it in.
  std::shared_ptr<BegunCharacter> begun = std::make_shared<BegunCharacter>();
};

struct ScorePlan : PromptPlan {
  bool follows_history = false;  // a history precedes the first token, so it has a log-probability
  TokenId first_token = kNoToken;  // the first one, if no history precedes it
  int64_t text_bytes = 0;          // length of all tokens' text; 0 if there is no tokenizer
  int64_t first_bytes = 0;         // the part of it that is the first token's
};

// Reads the prompt of a message. INVALID_ARGUMENT if a text is too long, or no prompt is there.
// FAILED_PRECONDITION for text if the model has no tokenizer.
absl::Status PlanPrompt(const v1::GenerateRequest& wire, const ServedModel& model,
                        PromptPlan* plan);
absl::StatusOr<ScorePlan> PlanScore(const v1::ScoreRequest& wire, const ServedModel& model);
// The request's prompt will be the answer: with BOS if the message asks for it.
absl::StatusOr<PromptPlan> PlanTokenize(const v1::TokenizeRequest& wire, const ServedModel& model);

// Tokenizes the next part, of some milliseconds. Returns whether the plan is complete.
absl::StatusOr<bool> ContinuePrompt(PromptPlan* plan, const ServedModel& model);
absl::StatusOr<bool> ContinuePrompt(ScorePlan* plan, const ServedModel& model);

// Completes a plan at once.
template <typename Plan>
absl::StatusOr<Plan> CompletePrompt(absl::StatusOr<Plan> plan, const ServedModel& model) {
  absl::StatusOr<bool> complete = false;
  while (plan.ok() && complete.ok() && !*complete) complete = ContinuePrompt(&*plan, model);
  if (!complete.ok()) return complete.status();
  return plan;
}
inline absl::StatusOr<ScorePlan> TranslateScore(const v1::ScoreRequest& wire,
                                                const ServedModel& model) {
  return CompletePrompt(PlanScore(wire, model), model);
}

// The BOS (beginning of sequence) token to put before a text, or kNoToken. INVALID_ARGUMENT if
// add_bos is true and the model has no BOS.
absl::StatusOr<TokenId> BosBefore(std::optional<bool> add_bos, const ServedModel& model);
// The answer to Tokenize. INVALID_ARGUMENT if it is longer than clients receive by default.
absl::Status FillTokens(const std::vector<TokenId>& tokens, v1::TokenizeResponse* response);
// The text of token ids. Always valid UTF-8. INVALID_ARGUMENT if it is longer than a text may be.
absl::StatusOr<std::string> TranslateDetokenize(const v1::DetokenizeRequest& wire,
                                                const ServedModel& model);

// How many tokens of its session the client says that it has seen.
template <typename Wire>
absl::StatusOr<int32_t> SeenTokens(const Wire& wire) {
  if (!wire.has_session_tokens()) return 0;
  return SeenSessionTokens(wire.session_id(), wire.session_tokens());
}

// Whether `value` is from `least` to `greatest`.
absl::Status CheckRange(std::string_view field, int64_t value, int64_t least, int64_t greatest);
absl::Status CheckCount(std::string_view field, size_t count, size_t most);
absl::Status NeedsTokenizer(std::string_view field);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_PROMPT_TRANSLATION_H_
