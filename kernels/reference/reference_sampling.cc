#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/philox.h"
#include "kernels/reference/reference_kernels.h"

namespace retnet {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// What a logit that is not finite after the edits counts as: kernels/sampling.h.
float Finite(float logit) {
  return std::isnan(logit) ? kMinusInfinity : std::min(logit, std::numeric_limits<float>::max());
}

// All tokens, in descending order of logit, the lowest id first among equals.
std::vector<TokenId> Order(const std::vector<float>& logits) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return logits[a] > logits[b]; });
  return order;
}

// log softmax(logits)[token], but at least the least finite number.
float LogProbability(const std::vector<float>& logits, TokenId token) {
  const double greatest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - greatest);
  const double logprob = logits[token] - greatest - std::log(sum);
  return static_cast<float>(std::max(logprob, double{std::numeric_limits<float>::lowest()}));
}

// The fewest first tokens whose probabilities reach top_p.
size_t CountOfTopP(const std::vector<double>& z, float top_p) {
  double total = 0;
  for (double value : z) total += std::exp(value);
  double sum = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    sum += std::exp(z[i]);
    if (sum >= double{top_p} * total) return i + 1;
  }
  return z.size();
}

TokenId SampleToken(std::vector<float> logits, const Sampling& sampling) {
  for (const LogitEdit& edit : sampling.edits) {
    float& logit = logits[edit.token];
    logit = logit > 0 ? logit / edit.repetition : logit * edit.repetition;
    logit = Finite(logit + edit.add);
  }
  std::vector<TokenId> kept = Order(logits);
  const float greatest = logits[kept[0]];
  if (greatest == kMinusInfinity) return kNoToken;  // all are banned
  if (sampling.temperature == 0) return kept[0];

  if (sampling.top_k > 0 && sampling.top_k < kept.size()) kept.resize(sampling.top_k);
  std::vector<double> z;  // of the kept tokens, less the greatest, which changes no probability
  for (TokenId token : kept) {
    z.push_back((double{logits[token]} - greatest) / sampling.temperature);
  }
  if (sampling.top_p < 1) z.resize(CountOfTopP(z, sampling.top_p));
  while (std::exp(z.back()) < double{sampling.min_p} && z.size() > 1) z.pop_back();

  TokenId best = kept[0];
  double best_score = -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < z.size(); ++i) {
    const double score = z[i] + GumbelNoise(sampling.seed, sampling.draw, kept[i]);
    if (score > best_score || (score == best_score && kept[i] < best)) {
      best = kept[i];
      best_score = score;
    }
  }
  return best;
}

}  // namespace

void ReferenceKernels::Sample(MatrixView<const float> logits,
                              std::span<const SampleRequest> requests,
                              std::span<const int32_t> keep_in, LastTokens& last_tokens,
                              std::span<SampleResult> results) const {
  for (size_t i = 0; i < requests.size(); ++i) {
    const SampleRequest& request = requests[i];
    std::vector<float> row(logits.row(i), logits.row(i) + logits.columns);
    SampleResult& result = results[i];
    result = SampleResult{};
    if (!std::all_of(row.begin(), row.end(), [](float logit) { return std::isfinite(logit); })) {
      continue;
    }
    result.token = request.scored_token != kNoToken ? request.scored_token
                                                    : SampleToken(row, request.sampling);
    if (result.token == kNoToken) continue;
    if (request.scored_token != kNoToken || request.logprob) {
      result.logprob = LogProbability(row, result.token);
    }
    const std::vector<TokenId> order = Order(row);
    for (int32_t n = 0; n < request.top_logprobs && n < order.size(); ++n) {
      result.top.push_back({order[n], LogProbability(row, order[n])});
    }
  }
  last_tokens.Keep(keep_in, results);
}

}  // namespace retnet
