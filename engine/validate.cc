#include "engine/validate.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// Not true of a NaN: it lies in no range.
template <typename T>
absl::Status CheckRange(std::string_view field, T value, T least, T greatest) {
  if (value >= least && value <= greatest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(View(field), " is ", value, "; it must be from ", least, " to ", greatest));
}

absl::Status CheckAtLeast(std::string_view field, int32_t value, int32_t least) {
  if (value >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(View(field), " is ", value, "; it must be at least ", least));
}

absl::Status CheckToken(std::string_view field, size_t index, TokenId token, int32_t vocab_size) {
  if (token >= 0 && token < vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(View(field), "[", index, "] is token ", token,
                                                 "; the vocabulary has tokens 0 to ",
                                                 vocab_size - 1));
}

absl::Status CheckTokens(std::string_view field, std::span<const TokenId> tokens,
                         int32_t vocab_size) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    RETURN_IF_ERROR(CheckToken(field, i, tokens[i], vocab_size));
  }
  return absl::OkStatus();
}

absl::Status CheckPrompt(const Request& request, int32_t vocab_size, int32_t context_length) {
  const size_t length = request.prompt.size();
  // A session may have tokens enough; whether it has is seen when it is the request's turn.
  const bool has_session = !request.session.id.empty();
  if (length == 0 && (!has_session || request.kind == RequestKind::kScore)) {
    return absl::InvalidArgumentError("prompt has 0 tokens; it must have at least 1");
  }
  if (request.kind == RequestKind::kPrefill && !has_session) {
    return absl::InvalidArgumentError("a prompt is prefilled for a session; session is not set");
  }
  if (request.kind != RequestKind::kScore && length >= std::max<int64_t>(context_length, 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt has ", length, " tokens; it must have fewer than the context length, ",
                     context_length));
  }
  // Positions are 32 bits wide.
  if (constexpr size_t kMax = std::numeric_limits<int32_t>::max(); length > kMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt has ", length, " tokens; it must have at most ", kMax));
  }
  return CheckTokens("prompt", request.prompt, vocab_size);
}

absl::Status CheckLogitBias(const SamplingParams& params, int32_t vocab_size) {
  std::vector<TokenId> tokens;
  tokens.reserve(params.logit_bias.size());
  for (size_t i = 0; i < params.logit_bias.size(); ++i) {
    const auto& [token, bias] = params.logit_bias[i];
    RETURN_IF_ERROR(CheckToken("logit_bias", i, token, vocab_size));
    RETURN_IF_ERROR(CheckRange(absl::StrCat("logit_bias of token ", token), bias, -100.0f, 100.0f));
    tokens.push_back(token);
  }
  std::sort(tokens.begin(), tokens.end());
  if (auto twice = std::adjacent_find(tokens.begin(), tokens.end()); twice != tokens.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("logit_bias names token ", *twice, " twice; each may be named once"));
  }
  return absl::OkStatus();
}

absl::Status CheckSampling(const SamplingParams& params, int32_t vocab_size) {
  if (constexpr float kLeast = 1e-4f, kGreatest = 100.0f;
      params.temperature != 0.0f &&
      !(params.temperature >= kLeast && params.temperature <= kGreatest)) {
    return absl::InvalidArgumentError(absl::StrCat("temperature is ", params.temperature,
                                                   "; it must be 0 (greedy) or from ", kLeast,
                                                   " to ", kGreatest));
  }
  RETURN_IF_ERROR(CheckAtLeast("top_k", params.top_k, 0));
  RETURN_IF_ERROR(CheckRange("top_p", params.top_p, 0.0f, 1.0f));
  RETURN_IF_ERROR(CheckRange("min_p", params.min_p, 0.0f, 1.0f));
  RETURN_IF_ERROR(CheckRange("repetition_penalty", params.repetition_penalty, 0.01f, 100.0f));
  RETURN_IF_ERROR(CheckRange("frequency_penalty", params.frequency_penalty, -2.0f, 2.0f));
  RETURN_IF_ERROR(CheckRange("presence_penalty", params.presence_penalty, -2.0f, 2.0f));
  return CheckLogitBias(params, vocab_size);
}

// Something must be left to sample while stop tokens are banned.
absl::Status CheckBan(const Request& request, int32_t vocab_size) {
  if (request.min_tokens == 0 || request.stop_token_ids.size() < vocab_size) {
    return absl::OkStatus();
  }
  std::vector<TokenId> tokens = request.stop_token_ids;
  std::sort(tokens.begin(), tokens.end());
  const auto distinct = std::unique(tokens.begin(), tokens.end()) - tokens.begin();
  if (distinct < vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("stop_token_ids has all ", vocab_size,
                                                 " tokens of the vocabulary; with min_tokens = ",
                                                 request.min_tokens, " it must leave at least 1"));
}

absl::Status CheckSharing(const Request& request) {
  RETURN_IF_ERROR(CheckRange("max_draft_tokens", request.max_draft_tokens, 0, kMaxDraftTokens));
  RETURN_IF_ERROR(CheckAtLeast("samples", request.samples, 1));
  if (!request.session.id.empty() && (request.samples > 1 || request.sample_of != 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("samples of session ", request.session.id,
                     " cannot share a prompt; fork the session for each"));
  }
  const auto length = static_cast<int32_t>(request.prompt.size());
  int32_t before = 0;
  for (const int32_t boundary : request.cache_boundaries) {
    RETURN_IF_ERROR(CheckRange("cache_boundaries", boundary, before, length));
    before = boundary;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateRequest(const Request& request, int32_t vocab_size, int32_t context_length) {
  RETURN_IF_ERROR(CheckPrompt(request, vocab_size, context_length));
  RETURN_IF_ERROR(CheckAtLeast("session_tokens", request.session_tokens, 0));
  RETURN_IF_ERROR(CheckRange("top_logprobs", request.top_logprobs, 0, kMaxTopLogprobs));
  if (request.kind == RequestKind::kScore) return absl::OkStatus();
  RETURN_IF_ERROR(CheckSharing(request));
  if (request.kind == RequestKind::kPrefill) return absl::OkStatus();
  RETURN_IF_ERROR(CheckAtLeast("max_tokens", request.max_tokens, 1));
  RETURN_IF_ERROR(CheckRange("min_tokens", request.min_tokens, 0, request.max_tokens));
  RETURN_IF_ERROR(CheckTokens("stop_token_ids", request.stop_token_ids, vocab_size));
  RETURN_IF_ERROR(CheckBan(request, vocab_size));
  return CheckSampling(request.sampling, vocab_size);
}

}  // namespace retnet
