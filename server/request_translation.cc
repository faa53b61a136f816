#include "server/request_translation.h"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/validate.h"
#include "kernels/status_macros.h"
#include "models/utf8.h"

namespace retnet {
namespace {

constexpr int32_t kMaxSamples = 128;
constexpr int kMaxStopStrings = 32;
constexpr size_t kMaxStopBytes = 256;
constexpr int kMaxStopTokens = 1024;
constexpr size_t kMaxBiases = 1024;

absl::Status CheckRange(std::string_view field, int64_t value, int64_t least, int64_t greatest) {
  if (value >= least && value <= greatest) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(absl::string_view(field.data(), field.size()),
                                                 " is ", value, "; it must be from ", least, " to ",
                                                 greatest));
}

absl::Status CheckCount(std::string_view field, size_t count, size_t most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(absl::string_view(field.data(), field.size()),
                                                 " has ", count, " entries; at most ", most,
                                                 " are allowed"));
}

absl::Status NeedsTokenizer(std::string_view field) {
  return absl::FailedPreconditionError(
      absl::StrCat(absl::string_view(field.data(), field.size()),
                   " needs a tokenizer and the model has none; it serves token ids only"));
}

TokenId BosOf(const ServedModel& model) {
  const TokenId bos = model.tokenizer->bos();
  return bos != kNoToken ? bos : model.info.bos;
}

absl::StatusOr<std::vector<TokenId>> EncodeText(const std::string& text,
                                                std::optional<bool> add_bos,
                                                const ServedModel& model) {
  if (model.tokenizer == nullptr) return NeedsTokenizer("text");
  std::vector<TokenId> tokens;
  if (add_bos.value_or(model.tokenizer->adds_bos())) {
    if (BosOf(model) == kNoToken) {
      return absl::InvalidArgumentError(
          "add_bos is true; the model has no BOS, so it must be false");
    }
    tokens.push_back(BosOf(model));
  }
  ASSIGN_OR_RETURN(const std::vector<TokenId> encoded, model.tokenizer->Encode(text));
  tokens.insert(tokens.end(), encoded.begin(), encoded.end());
  return tokens;
}

// Of both requests that have a prompt.
template <typename Wire>
absl::StatusOr<std::vector<TokenId>> TranslatePrompt(const Wire& wire, const ServedModel& model) {
  switch (wire.prompt_case()) {
    case Wire::kText:
      if (wire.text().empty()) {
        return absl::InvalidArgumentError(
            "text is empty; it must have at least 1 byte (to begin with nothing, send the BOS as "
            "token_ids)");
      }
      return EncodeText(wire.text(),
                        wire.has_add_bos() ? std::optional(wire.add_bos()) : std::nullopt, model);
    case Wire::kTokenIds:
      if (wire.token_ids().ids().empty()) {
        return absl::InvalidArgumentError("token_ids is empty; it must have at least 1 token");
      }
      return std::vector<TokenId>(wire.token_ids().ids().begin(), wire.token_ids().ids().end());
    case Wire::PROMPT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("the request has no prompt; set text or token_ids");
}

absl::StatusOr<SamplingParams> TranslateSampling(const v1::GenerateRequest& wire,
                                                 const GenerationConfig& defaults) {
  SamplingParams params;
  params.temperature = wire.has_temperature() ? wire.temperature()
                                              : defaults.temperature.value_or(params.temperature);
  params.top_k = wire.has_top_k() ? wire.top_k() : defaults.top_k.value_or(params.top_k);
  if (params.top_k == -1) params.top_k = 0;  // as vLLM's users write "all"
  params.top_p = wire.has_top_p() ? wire.top_p() : defaults.top_p.value_or(params.top_p);
  params.min_p = wire.has_min_p() ? wire.min_p() : defaults.min_p.value_or(params.min_p);
  params.repetition_penalty = wire.has_repetition_penalty()
                                  ? wire.repetition_penalty()
                                  : defaults.repetition_penalty.value_or(params.repetition_penalty);
  params.frequency_penalty = wire.frequency_penalty();
  params.presence_penalty = wire.presence_penalty();
  RETURN_IF_ERROR(CheckCount("logit_bias", wire.logit_bias().size(), kMaxBiases));
  params.logit_bias.assign(wire.logit_bias().begin(), wire.logit_bias().end());
  std::sort(params.logit_bias.begin(), params.logit_bias.end());  // a map comes in any order
  if (wire.has_seed()) {
    params.seed = wire.seed();
  } else {
    std::random_device device;
    params.seed = uint64_t{device()} << 32 | device();
  }
  return params;
}

absl::StatusOr<std::vector<TokenId>> TranslateStopTokens(const v1::GenerateRequest& wire,
                                                         const ServedModel& model) {
  RETURN_IF_ERROR(CheckCount("stop_token_ids", wire.stop_token_ids_size(), kMaxStopTokens));
  std::vector<TokenId> tokens(wire.stop_token_ids().begin(), wire.stop_token_ids().end());
  if (wire.ignore_eos()) return tokens;
  tokens.insert(tokens.end(), model.info.eos.begin(), model.info.eos.end());
  return tokens;
}

absl::StatusOr<TextStops> TranslateTextStops(const v1::GenerateRequest& wire,
                                             const ServedModel& model) {
  RETURN_IF_ERROR(CheckCount("stop", wire.stop_size(), kMaxStopStrings));
  if (wire.stop_size() > 0 && model.tokenizer == nullptr) return NeedsTokenizer("stop");
  for (int i = 0; i < wire.stop_size(); ++i) {
    const size_t bytes = wire.stop(i).size();
    if (bytes >= 1 && bytes <= kMaxStopBytes) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stop[", i, "] has ", bytes, " bytes; it must have 1 to ", kMaxStopBytes));
  }
  TextStops stops;
  stops.strings.assign(wire.stop().begin(), wire.stop().end());
  stops.include = wire.include_stop_str_in_output();
  stops.min_tokens = wire.min_tokens();
  return stops;
}

// Sample 0 keeps the seed; the others are spread by the finaliser of SplitMix64 (Steele, Lea and
// Flood, OOPSLA 2014).
uint64_t SampleSeed(uint64_t seed, int32_t sample) {
  if (sample == 0) return seed;
  uint64_t mixed = seed + static_cast<uint64_t>(sample) * 0x9E3779B97F4A7C15;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
  return mixed ^ (mixed >> 31);
}

}  // namespace

absl::StatusOr<GenerationPlan> TranslateGenerate(const v1::GenerateRequest& wire,
                                                 const ServedModel& model) {
  GenerationPlan plan;
  Request& request = plan.request;
  request.kind = RequestKind::kGenerate;
  // What costs nothing is checked before the prompt becomes tokens.
  plan.samples = wire.has_n() ? wire.n() : 1;
  RETURN_IF_ERROR(CheckRange("n", plan.samples, 1, kMaxSamples));
  const int32_t most_tokens = model.max_context_length;
  request.max_tokens =
      wire.has_max_tokens()
          ? wire.max_tokens()
          : std::min(model.defaults.max_new_tokens.value_or(most_tokens), most_tokens);
  RETURN_IF_ERROR(CheckRange("max_tokens", request.max_tokens, 1, most_tokens));
  request.min_tokens = wire.min_tokens();
  RETURN_IF_ERROR(CheckRange("min_tokens", request.min_tokens, 0, request.max_tokens));
  request.logprobs = wire.has_logprobs();
  request.top_logprobs = wire.logprobs();
  RETURN_IF_ERROR(CheckRange("logprobs", request.top_logprobs, 0, kMaxTopLogprobs));
  request.priority = wire.priority();
  ASSIGN_OR_RETURN(request.sampling, TranslateSampling(wire, model.defaults));
  ASSIGN_OR_RETURN(request.stop_token_ids, TranslateStopTokens(wire, model));
  ASSIGN_OR_RETURN(plan.text_stops, TranslateTextStops(wire, model));
  ASSIGN_OR_RETURN(request.prompt, TranslatePrompt(wire, model));
  return plan;
}

absl::StatusOr<ScorePlan> TranslateScore(const v1::ScoreRequest& wire, const ServedModel& model) {
  ScorePlan plan;
  plan.request.kind = RequestKind::kScore;
  plan.request.priority = wire.priority();
  ASSIGN_OR_RETURN(plan.request.prompt, TranslatePrompt(wire, model));
  if (model.tokenizer == nullptr) return plan;
  const std::vector<TokenId>& prompt = plan.request.prompt;
  if (wire.has_text()) {
    // Normalising may change the bytes; what is scored is the text as it was given.
    plan.scored_bytes = static_cast<int64_t>(wire.text().size());
    ASSIGN_OR_RETURN(const std::string first, model.tokenizer->Decode({&prompt[0], 1}));
    plan.scored_bytes -= static_cast<int64_t>(first.size());
    return plan;
  }
  for (size_t i = 1; i < prompt.size(); ++i) {
    plan.scored_bytes += static_cast<int64_t>(model.tokenizer->Bytes(prompt[i]).size());
  }
  return plan;
}

absl::StatusOr<std::vector<TokenId>> TranslateTokenize(const v1::TokenizeRequest& wire,
                                                       const ServedModel& model) {
  return EncodeText(wire.text(), wire.has_add_bos() ? std::optional(wire.add_bos()) : std::nullopt,
                    model);
}

absl::StatusOr<std::string> TranslateDetokenize(const v1::DetokenizeRequest& wire,
                                                const ServedModel& model) {
  if (model.tokenizer == nullptr) return NeedsTokenizer("Detokenize");
  const int32_t size = model.tokenizer->vocab_size();
  for (int i = 0; i < wire.token_ids_size(); ++i) {
    const TokenId token = wire.token_ids(i);
    RETURN_IF_ERROR(CheckRange(absl::StrCat("token_ids[", i, "]"), token, 0, size - 1));
  }
  ASSIGN_OR_RETURN(const std::string bytes,
                   model.tokenizer->Decode(
                       {wire.token_ids().data(), static_cast<size_t>(wire.token_ids_size())}));
  std::string text;
  Utf8Assembler characters;
  characters.Push(bytes, &text);
  characters.Flush(&text);
  return text;
}

absl::Status CheckDefaults(const ServedModel& model) {
  v1::GenerateRequest nothing_set;
  nothing_set.mutable_token_ids()->add_ids(0);
  absl::StatusOr<GenerationPlan> plan = TranslateGenerate(nothing_set, model);
  absl::Status status = plan.status();
  if (status.ok()) {
    status = ValidateRequest(plan->request, model.info.vocab_size, model.max_context_length);
  }
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("generation_config.json: ", status.message()));
}

std::vector<Request> SampleRequests(const GenerationPlan& plan, const Tokenizer* tokenizer) {
  std::vector<Request> requests(plan.samples, plan.request);
  for (int32_t i = 0; i < plan.samples; ++i) {
    requests[i].sampling.seed = SampleSeed(plan.request.sampling.seed, i);
    if (plan.text_stops.strings.empty()) continue;
    requests[i].stop = [text = Detokenizer(tokenizer, plan.text_stops)](TokenId token) mutable {
      text.Push(token);
      return text.stopped();
    };
  }
  return requests;
}

}  // namespace retnet
