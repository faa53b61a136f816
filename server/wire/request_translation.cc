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

namespace retnet {
namespace {

constexpr int32_t kMaxSamples = 128;
constexpr int kMaxStopStrings = 32;
constexpr size_t kMaxStopBytes = 256;
constexpr int kMaxStopTokens = 1024;
constexpr size_t kMaxBiases = 1024;

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
  ASSIGN_OR_RETURN(plan->request.session_tokens, SeenTokens(wire));
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
                      : wire.has_session_tokens()         ? "session_tokens"
                      : wire.has_parse_special_tokens()   ? "parse_special_tokens"
                                                          : nullptr;
  if (other != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("go.", other, " is set; go may only say how to answer"));
  }
  return TranslateSettings(wire, model);
}

absl::StatusOr<GenerationPlan> PlanGenerate(const v1::GenerateRequest& wire,
                                            const ServedModel& model) {
  // Cheap checks come before the prompt is tokenized.
  ASSIGN_OR_RETURN(GenerationPlan plan, TranslateSettings(wire, model));
  RETURN_IF_ERROR(TranslateSession(wire, &plan));
  RETURN_IF_ERROR(PlanPrompt(wire, model, &plan));
  return plan;
}

namespace {

// Whether a request that sets nothing would be accepted.
absl::Status CheckDefaults(const ServedModel& model) {
  v1::GenerateRequest nothing_set;
  nothing_set.mutable_token_ids()->add_ids(0);
  ASSIGN_OR_RETURN(const GenerationPlan plan, TranslateGenerate(nothing_set, model));
  return ValidateRequest(plan.request, model.info.vocab_size, model.max_context_length);
}

}  // namespace

std::vector<std::string> DropInvalidDefaults(ServedModel* model) {
  std::vector<std::string> dropped;
  ServedModel alone = *model;
  const auto check = [&](auto value) {
    alone.defaults = {};
    alone.defaults.*value = model->defaults.*value;
    const absl::Status status = CheckDefaults(alone);
    if (status.ok()) return;
    dropped.push_back(absl::StrCat("generation_config.json: ", status.message()));
    (model->defaults.*value).reset();
  };
  check(&GenerationConfig::temperature);
  check(&GenerationConfig::top_k);
  check(&GenerationConfig::top_p);
  check(&GenerationConfig::min_p);
  check(&GenerationConfig::repetition_penalty);
  check(&GenerationConfig::max_new_tokens);
  return dropped;
}

std::vector<Request> SampleRequests(const GenerationPlan& plan, const Tokenizer* tokenizer) {
  std::vector<Request> requests(plan.samples, plan.request);
  requests[0].samples = plan.samples;
  for (int32_t i = 0; i < plan.samples; ++i) {
    requests[i].sampling.seed = SampleSeed(plan.request.sampling.seed, i);
    if (plan.text_stops.strings.empty()) continue;
    requests[i].stop =
        [text = Detokenizer(tokenizer, plan.text_stops, plan.begun)](TokenId token) mutable {
          text.Push(token);
          return text.decision();
        };
  }
  return requests;
}

}  // namespace retnet
