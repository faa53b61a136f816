#include "server/wire/request_translation.h"

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
#include "server/wire/messages.h"
#include "server/wire/session_translation.h"

namespace retnet {
namespace {

constexpr int32_t kMaxSamples = 128;
constexpr int kMaxStopStrings = 32;
constexpr size_t kMaxStopBytes = 256;
constexpr int kMaxStopTokens = 1024;
constexpr size_t kMaxBiases = 1024;
constexpr int kMaxCacheBoundaries = 16;

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

template <typename Wire>
std::optional<bool> AddBosOf(const Wire& wire) {
  return wire.has_add_bos() ? std::optional(wire.add_bos()) : std::nullopt;
}

// A prompt, before it is known whether BOS precedes it.
struct Prompt {
  std::vector<TokenId> tokens;  // without BOS
  TokenId bos = kNoToken;       // precedes the tokens
  bool bos_if_first = false;    // but only if the session has no history
};

// Reads the prompt of a Generate or Score request. A request on a session may have none.
template <typename Wire>
absl::StatusOr<Prompt> TranslatePrompt(const Wire& wire, const ServedModel& model) {
  const bool on_session = !wire.session_id().empty();
  if (on_session) RETURN_IF_ERROR(CheckSessionId("session_id", wire.session_id()));
  Prompt prompt;
  if (wire.has_token_ids()) {
    if (wire.token_ids().ids().empty() && !on_session) {
      return absl::InvalidArgumentError("token_ids is empty; it must have at least 1 token");
    }
    prompt.tokens.assign(wire.token_ids().ids().begin(), wire.token_ids().ids().end());
    return prompt;
  }
  if (wire.text().empty() && !on_session) {
    return absl::InvalidArgumentError(
        wire.has_text() ? "text is empty; it must have at least 1 byte (to begin with nothing, "
                          "send the BOS as token_ids)"
                        : "the request has no prompt; set text or token_ids");
  }
  if (model.tokenizer == nullptr) {
    if (wire.text().empty()) return prompt;
    return NeedsTokenizer("text");
  }
  ASSIGN_OR_RETURN(prompt.bos, BosBefore(AddBosOf(wire), model));
  prompt.bos_if_first = on_session && !wire.has_add_bos();
  ASSIGN_OR_RETURN(prompt.tokens, model.tokenizer->Encode(wire.text()));
  return prompt;
}

void SetPrompt(Prompt prompt, Request* request) {
  request->prompt = std::move(prompt.tokens);
  if (prompt.bos == kNoToken) return;
  if (prompt.bos_if_first) {
    request->first_token = prompt.bos;
    return;
  }
  request->prompt.insert(request->prompt.begin(), prompt.bos);
  for (int32_t& boundary : request->cache_boundaries) ++boundary;
}

// The number of tokens that a prefix of the text has in common with the whole text. Another text
// with the same prefix may share them.
absl::StatusOr<int32_t> CommonTokens(std::string_view beginning, const std::vector<TokenId>& tokens,
                                     const ServedModel& model) {
  ASSIGN_OR_RETURN(const std::vector<TokenId> begun, model.tokenizer->Encode(beginning));
  const size_t most = std::min(begun.size(), tokens.size());
  return static_cast<int32_t>(
      std::mismatch(begun.begin(), begun.begin() + most, tokens.begin()).first - begun.begin());
}

// Lengths of `tokens`, which is the prompt without BOS.
absl::StatusOr<std::vector<int32_t>> TranslateBoundaries(const v1::GenerateRequest& wire,
                                                         const std::vector<TokenId>& tokens,
                                                         const ServedModel& model) {
  RETURN_IF_ERROR(
      CheckCount("cache_boundaries", wire.cache_boundaries_size(), kMaxCacheBoundaries));
  const std::string& text = wire.text();
  std::vector<int32_t> lengths;
  int32_t last = 0;
  for (int i = 0; i < wire.cache_boundaries_size(); ++i) {
    const std::string field = absl::StrCat("cache_boundaries[", i, "]");
    const int32_t mark = wire.cache_boundaries(i);
    RETURN_IF_ERROR(
        CheckRange(field, mark, last + 1, wire.has_text() ? text.size() : tokens.size()));
    last = mark;
    if (!wire.has_text()) {
      lengths.push_back(mark);
      continue;
    }
    const std::string_view beginning = std::string_view(text).substr(0, mark);
    if (FirstInvalidUtf8(beginning).has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, " is ", mark, ", which is within a character of text"));
    }
    ASSIGN_OR_RETURN(const int32_t length, CommonTokens(beginning, tokens, model));
    if (length > (lengths.empty() ? 0 : lengths.back())) lengths.push_back(length);
  }
  return lengths;
}

// Reads which session the request is on and whether it is kept.
absl::Status TranslateSession(const v1::GenerateRequest& wire, GenerationPlan* plan) {
  const bool named = !wire.session_id().empty();
  plan->needs.make = !named && wire.keep();
  if (plan->samples > 1 && (named || plan->needs.make)) {
    return absl::InvalidArgumentError(
        absl::StrCat("n is ", plan->samples, " and ", named ? "session_id is set" : "keep is true",
                     "; a session takes one answer: fork it and generate on each fork"));
  }
  plan->request.session.id = wire.session_id();
  plan->request.keep = !wire.has_keep() || wire.keep();
  plan->request.wait_for_session = wire.when_busy() == v1::WHEN_BUSY_WAIT;
  return absl::OkStatus();
}

absl::StatusOr<SamplingParams> TranslateSampling(const v1::GenerateRequest& wire,
                                                 const GenerationConfig& defaults) {
  SamplingParams params;
  params.temperature = wire.has_temperature() ? wire.temperature()
                                              : defaults.temperature.value_or(params.temperature);
  params.top_k = wire.has_top_k() ? wire.top_k() : defaults.top_k.value_or(params.top_k);
  if (params.top_k == -1) params.top_k = 0;  // vLLM's value for "all"
  params.top_p = wire.has_top_p() ? wire.top_p() : defaults.top_p.value_or(params.top_p);
  params.min_p = wire.has_min_p() ? wire.min_p() : defaults.min_p.value_or(params.min_p);
  params.repetition_penalty = wire.has_repetition_penalty()
                                  ? wire.repetition_penalty()
                                  : defaults.repetition_penalty.value_or(params.repetition_penalty);
  params.frequency_penalty = wire.frequency_penalty();
  params.presence_penalty = wire.presence_penalty();
  RETURN_IF_ERROR(CheckCount("logit_bias", wire.logit_bias().size(), kMaxBiases));
  params.logit_bias.assign(wire.logit_bias().begin(), wire.logit_bias().end());
  std::sort(params.logit_bias.begin(), params.logit_bias.end());  // a protobuf map has no order
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

// Sample 0 keeps the seed. The seeds of the others come from the finaliser of SplitMix64 (Steele,
// Lea and Flood, OOPSLA 2014).
uint64_t SampleSeed(uint64_t seed, int32_t sample) {
  if (sample == 0) return seed;
  uint64_t mixed = seed + static_cast<uint64_t>(sample) * 0x9E3779B97F4A7C15;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
  return mixed ^ (mixed >> 31);
}

// Reads everything except prompt and session.
absl::StatusOr<GenerationPlan> TranslateSettings(const v1::GenerateRequest& wire,
                                                 const ServedModel& model) {
  GenerationPlan plan;
  Request& request = plan.request;
  request.kind = RequestKind::kGenerate;
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
  request.max_draft_tokens =
      wire.has_max_draft_tokens() ? wire.max_draft_tokens() : model.max_draft_tokens;
  RETURN_IF_ERROR(CheckRange("max_draft_tokens", request.max_draft_tokens, 0, kMaxDraftTokens));
  request.priority = wire.priority();
  ASSIGN_OR_RETURN(request.sampling, TranslateSampling(wire, model.defaults));
  ASSIGN_OR_RETURN(request.stop_token_ids, TranslateStopTokens(wire, model));
  ASSIGN_OR_RETURN(plan.text_stops, TranslateTextStops(wire, model));
  return plan;
}

}  // namespace

absl::StatusOr<TokenId> BosBefore(std::optional<bool> add_bos, const ServedModel& model) {
  if (!add_bos.value_or(model.tokenizer->adds_bos())) return kNoToken;
  const TokenId bos = model.tokenizer->bos() != kNoToken ? model.tokenizer->bos() : model.info.bos;
  if (bos == kNoToken) {
    return absl::InvalidArgumentError("add_bos is true; the model has no BOS, so it must be false");
  }
  return bos;
}

absl::StatusOr<GenerationPlan> TranslateAnswer(const v1::GenerateRequest& wire,
                                               const ServedModel& model) {
  const char* other = wire.has_text()                     ? "text"
                      : wire.has_token_ids()              ? "token_ids"
                      : wire.has_add_bos()                ? "add_bos"
                      : wire.has_n()                      ? "n"
                      : wire.has_priority()               ? "priority"
                      : !wire.session_id().empty()        ? "session_id"
                      : wire.has_keep()                   ? "keep"
                      : wire.when_busy() != 0             ? "when_busy"
                      : wire.cache_boundaries_size() != 0 ? "cache_boundaries"
                                                          : nullptr;
  if (other != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("go.", other, " is set; go may only say how to answer"));
  }
  return TranslateSettings(wire, model);
}

absl::StatusOr<GenerationPlan> TranslateGenerate(const v1::GenerateRequest& wire,
                                                 const ServedModel& model) {
  // Cheap checks come before the prompt is tokenized.
  ASSIGN_OR_RETURN(GenerationPlan plan, TranslateSettings(wire, model));
  RETURN_IF_ERROR(TranslateSession(wire, &plan));
  ASSIGN_OR_RETURN(Prompt prompt, TranslatePrompt(wire, model));
  ASSIGN_OR_RETURN(plan.request.cache_boundaries, TranslateBoundaries(wire, prompt.tokens, model));
  SetPrompt(std::move(prompt), &plan.request);
  return plan;
}

absl::StatusOr<ScorePlan> TranslateScore(const v1::ScoreRequest& wire, const ServedModel& model) {
  ScorePlan plan;
  plan.request.kind = RequestKind::kScore;
  plan.request.priority = wire.priority();
  plan.request.session.id = wire.session_id();
  plan.request.wait_for_session = wire.when_busy() == v1::WHEN_BUSY_WAIT;
  plan.needs.look = !wire.session_id().empty();
  ASSIGN_OR_RETURN(Prompt translated, TranslatePrompt(wire, model));
  if (translated.tokens.empty()) {
    return absl::InvalidArgumentError("the request has no prompt; set text or token_ids");
  }
  SetPrompt(std::move(translated), &plan.request);
  if (model.tokenizer == nullptr) return plan;
  const std::vector<TokenId>& prompt = plan.request.prompt;
  if (wire.has_text()) {
    // Normalising may change the bytes. The score is for the text as the client sent it.
    plan.text_bytes = static_cast<int64_t>(wire.text().size());
    ASSIGN_OR_RETURN(const std::string first, model.tokenizer->Decode({&prompt[0], 1}));
    plan.first_bytes = static_cast<int64_t>(first.size());
    return plan;
  }
  for (const TokenId token : prompt) {
    plan.text_bytes += static_cast<int64_t>(model.tokenizer->Bytes(token).size());
  }
  plan.first_bytes = static_cast<int64_t>(model.tokenizer->Bytes(prompt[0]).size());
  return plan;
}

absl::StatusOr<std::vector<TokenId>> TranslateTokenize(const v1::TokenizeRequest& wire,
                                                       const ServedModel& model) {
  if (model.tokenizer == nullptr) return NeedsTokenizer("text");
  ASSIGN_OR_RETURN(const TokenId bos, BosBefore(AddBosOf(wire), model));
  ASSIGN_OR_RETURN(std::vector<TokenId> tokens, model.tokenizer->Encode(wire.text()));
  if (bos != kNoToken) tokens.insert(tokens.begin(), bos);
  return tokens;
}

absl::StatusOr<std::string> TranslateDetokenize(const v1::DetokenizeRequest& wire,
                                                const ServedModel& model) {
  if (model.tokenizer == nullptr) return NeedsTokenizer("Detokenize");
  const int32_t size = model.tokenizer->vocab_size();
  size_t text_bytes = 0;
  for (int i = 0; i < wire.token_ids_size(); ++i) {
    const TokenId token = wire.token_ids(i);
    RETURN_IF_ERROR(CheckRange(absl::StrCat("token_ids[", i, "]"), token, 0, size - 1));
    text_bytes += model.tokenizer->Bytes(token).size();
    // Before the text takes many times the request's memory.
    if (text_bytes <= kDefaultClientBytes) continue;
    return absl::ResourceExhaustedError(
        absl::StrCat("the text of token_ids has more than ", kDefaultClientBytes,
                     " bytes, which a client receives by default: send fewer token_ids a call"));
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
  requests[0].samples = plan.samples;
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
