#include "kernels/cpu/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "kernels/ceil_divide.h"
#include "kernels/status_macros.h"

namespace retnet::cpu {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Maps floats to integers in the same order: the bits, with the order of the negative ones
// reversed.
int32_t OrderedBits(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value);
  return bits >= 0 ? bits : bits ^ std::numeric_limits<int32_t>::max();
}
float FromOrderedBits(int32_t ordered) {
  return std::bit_cast<float>(ordered >= 0 ? ordered
                                           : ordered ^ std::numeric_limits<int32_t>::max());
}

// What a logit that is not finite after the edits counts as: kernels/sampling.h.
float Finite(float logit) {
  return std::isnan(logit) ? kMinusInfinity : std::min(logit, std::numeric_limits<float>::max());
}

// The work on one row of logits, in the scratch of one thread.
class Row {
 public:
  Row(const SamplingSimd& vectors, const float* unedited, int64_t columns, float* logits,
      TokenId* tokens)
      : vectors_(vectors),
        unedited_(unedited),
        columns_(columns),
        size_(RoundUp(columns, kLogitsPadding)),
        logits_(logits),
        tokens_(tokens),
        greatest_(vectors.copy(unedited, columns, logits)) {}

  // If false, nothing else may be called.
  bool IsFinite() const { return !std::isnan(greatest_); }
  // Must be called before Edit, so that LogProbability is that of the model itself.
  void SumProbabilities() {
    log_total_ =
        greatest_ + std::log(vectors_.sum_of_exponentials(logits_, size_, greatest_, 1.0f));
  }
  float LogProbability(TokenId token) const {
    return static_cast<float>(
        std::max(unedited_[token] - log_total_, double{std::numeric_limits<float>::lowest()}));
  }

  // The first `count` tokens in descending order of logit; among equals, the lowest id first. count
  // must be above 0. Valid until the next call of any function.
  std::span<const TokenId> MostProbable(int64_t count);
  void Edit(std::span<const LogitEdit> edits);
  // kNoToken if the edits have banned all tokens.
  TokenId Sample(const Sampling& sampling);

 private:
  bool CutsTopK(const Sampling& sampling) const {
    return sampling.top_k > 0 && sampling.top_k < columns_;
  }
  // The tokens that top_k and top_p keep, in descending order.
  std::span<const TokenId> Cut(const Sampling& sampling);
  std::span<const TokenId> CutTopP(const Sampling& sampling);

  const SamplingSimd& vectors_;
  const float* const unedited_;
  const int64_t columns_;
  const int64_t size_;     // columns_ including padding
  float* const logits_;    // [size_]
  TokenId* const tokens_;  // [size_ + kLogitsPadding]
  float greatest_;
  double log_total_ = 0;
};

std::span<const TokenId> Row::MostProbable(int64_t count) {
  count = std::min(count, columns_);
  // Bisects for a bound that at least `count` logits reach, until few more than `count` reach it.
  int32_t reached = OrderedBits(kMinusInfinity);
  int32_t too_high = OrderedBits(greatest_) + 1;
  int64_t reaching = columns_;
  while (too_high - int64_t{reached} > 1 && reaching > 2 * count + kLogitsPadding) {
    const int32_t middle = static_cast<int32_t>((int64_t{reached} + too_high) / 2);
    const int64_t reach_middle = vectors_.count_at_least(logits_, size_, FromOrderedBits(middle));
    (reach_middle >= count ? reached : too_high) = middle;
    if (reach_middle >= count) reaching = reach_middle;
  }
  int64_t candidates = vectors_.collect_at_least(logits_, size_, FromOrderedBits(reached), tokens_);
  // If the bound is −infinity, the padding reaches it too. Its ids are the last ones: drop them.
  candidates = std::min(candidates, columns_);
  const auto comes_first = [this](TokenId a, TokenId b) {
    return logits_[a] > logits_[b] || (logits_[a] == logits_[b] && a < b);
  };
  std::nth_element(tokens_, tokens_ + count, tokens_ + candidates, comes_first);
  std::sort(tokens_, tokens_ + count, comes_first);
  return {tokens_, static_cast<size_t>(count)};
}

void Row::Edit(std::span<const LogitEdit> edits) {
  if (edits.empty()) return;
  for (const LogitEdit& edit : edits) {
    float& logit = logits_[edit.token];
    logit = logit > 0 ? logit / edit.repetition : logit * edit.repetition;
    logit = Finite(logit + edit.add);
  }
  greatest_ = vectors_.greatest(logits_, size_);
}

// The shortest prefix of all tokens whose probabilities add up to top_p, in descending order.
std::span<const TokenId> Row::CutTopP(const Sampling& sampling) {
  const double needed = sampling.top_p * vectors_.sum_of_exponentials(logits_, size_, greatest_,
                                                                      sampling.temperature);
  for (int64_t count = 64;; count *= 4) {
    const std::span<const TokenId> tokens = MostProbable(count);
    double sum = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      sum += std::exp(ScaledLogit(logits_[tokens[i]], greatest_, sampling.temperature));
      if (sum >= needed) return tokens.first(i + 1);
    }
    if (tokens.size() == columns_) return tokens;
  }
}

std::span<const TokenId> Row::Cut(const Sampling& sampling) {
  if (!CutsTopK(sampling)) return CutTopP(sampling);
  const std::span<const TokenId> tokens = MostProbable(sampling.top_k);
  if (!(sampling.top_p < 1)) return tokens;
  double total = 0;
  for (TokenId token : tokens) {
    total += std::exp(ScaledLogit(logits_[token], greatest_, sampling.temperature));
  }
  double sum = 0;
  size_t count = 0;
  while (count < tokens.size()) {
    sum += std::exp(ScaledLogit(logits_[tokens[count++]], greatest_, sampling.temperature));
    if (sum >= sampling.top_p * total) break;
  }
  return tokens.first(count);
}

TokenId Row::Sample(const Sampling& sampling) {
  if (greatest_ == kMinusInfinity) return kNoToken;
  vectors_.collect_at_least(logits_, size_, greatest_, tokens_);
  const TokenId first = tokens_[0];
  if (sampling.temperature == 0) return first;
  if (!CutsTopK(sampling) && !(sampling.top_p < 1)) {
    return vectors_.sample(logits_, size_, first, sampling);
  }
  TokenId best = first;
  double best_score = GumbelScore(greatest_, greatest_, first, sampling);
  for (TokenId token : Cut(sampling)) {
    if (!IsLikelyEnough(logits_[token], greatest_, sampling)) break;  // the rest is less likely
    const double score = GumbelScore(logits_[token], greatest_, token, sampling);
    if (score > best_score || (score == best_score && token < best)) {
      best = token;
      best_score = score;
    }
  }
  return best;
}

void SampleLogits(const SampleRequest& request, Row& row, SampleResult* result) {
  const bool is_scored = request.scored_token != kNoToken;
  const bool wants_logprob = is_scored || request.logprob;
  result->token = kNoToken;
  result->logprob = std::numeric_limits<float>::quiet_NaN();
  result->top.clear();
  if (!row.IsFinite()) return;
  if (wants_logprob || request.top_logprobs > 0) row.SumProbabilities();
  if (request.top_logprobs > 0) {
    for (TokenId token : row.MostProbable(request.top_logprobs)) {
      result->top.push_back({token, row.LogProbability(token)});
    }
  }
  result->token = request.scored_token;
  if (!is_scored) {
    row.Edit(request.sampling.edits);
    result->token = row.Sample(request.sampling);
    if (result->token == kNoToken) {
      result->top.clear();
      return;
    }
  }
  if (wants_logprob) result->logprob = row.LogProbability(result->token);
}

}  // namespace

CpuSampler::CpuSampler(InstructionSet set, int32_t threads)
    : vectors_(SamplingSimdFor(set)), logits_(threads), tokens_(threads) {}

absl::Status CpuSampler::Reserve(int64_t columns) {
  const int64_t size = RoundUp(columns, kLogitsPadding);
  if (size <= logits_[0].size()) return absl::OkStatus();
  for (size_t thread = 0; thread < logits_.size(); ++thread) {
    ASSIGN_OR_RETURN(tokens_[thread], AlignedArray<TokenId>::Make(size + kLogitsPadding));
    ASSIGN_OR_RETURN(logits_[thread], AlignedArray<float>::Make(size));
  }
  return absl::OkStatus();
}

void CpuSampler::Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
                        std::span<SampleResult> results, ThreadPool& pool) {
  pool.Run(static_cast<int64_t>(requests.size()), [&](int64_t i, int32_t thread) {
    Row row(vectors_, logits.row(i), logits.columns, logits_[thread].data(),
            tokens_[thread].data());
    SampleLogits(requests[i], row, &results[i]);
  });
}

}  // namespace retnet::cpu
