// What the device computes from one row of logits: a sampled token, or the log-probability of a
// token that the caller names. Plain data. The formulas are the contract of every backend.
#ifndef RETNET_KERNELS_SAMPLING_H_
#define RETNET_KERNELS_SAMPLING_H_

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/tensor.h"

namespace retnet {

inline constexpr TokenId kNoToken = -1;

// A change of one token's logit l before sampling, in this order:
//   l ← l > 0 ? l / repetition : l · repetition   (Keskar et al., arXiv 1909.05858)
//   l ← l + add
// `add` is the sum of bias, frequency penalty and presence penalty; −infinity bans the token.
struct LogitEdit {
  TokenId token = 0;
  float repetition = 1.0f;
  float add = 0.0f;
};

// How a row chooses its token, after the edits:
//   If temperature = 0: the token with the greatest logit; among equals, the lowest id.
//   Otherwise z = l / temperature, and tokens are ordered by descending z (ties: lowest id first).
//     1. Keep the first top_k tokens (0: all).
//     2. Of these, keep the shortest prefix whose probabilities add up to at least top_p.
//     3. Of these, keep the tokens whose probability is at least min_p times the greatest one.
//     Probabilities are renormalised after each cut. The first token is always kept.
//     4. Take argmax z_i + g_i, where
//          g_i = −ln(−ln u_i)      (Gumbel-max: this is a sample of softmax(z)),
//          u_i = (x_i + ½) · 2⁻³²,
//          x_i = word i mod 4 of Philox4x32-10 (Salmon et al., SC 2011)
//                with key `seed` and counter (i / 4, draw low, draw high, 0).
// So, for these parameters, the token depends only on the logits, `seed` and `draw`. It does not
// depend on the batch or on the order of a sum.
// After the edits, a logit that overflowed to +infinity counts as the greatest finite number, and
// NaN as −infinity.
struct Sampling {
  float temperature = 1.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  uint64_t seed = 0;
  uint64_t draw = 0;  // must differ between the tokens of one request
  // At most one edit per token. Must stay valid until the step has been waited for.
  std::span<const LogitEdit> edits = {};
};

struct TokenLogprob {
  TokenId token = kNoToken;
  float logprob = 0.0f;

  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

// What to compute from a row of logits. Log-probabilities are natural logarithms and of the model
// itself: log softmax of the logits before edits and temperature, but at least the least finite
// number. All tokens must be inside the vocabulary.
struct SampleRequest {
  TokenId scored_token = kNoToken;  // report its log-probability; kNoToken: sample a token
  Sampling sampling = {};           // ignored if scored_token is set
  bool logprob = false;             // also report the log-probability of the sampled token
  int32_t top_logprobs = 0;         // also report the n most probable tokens, at most 20
};

// A row whose logits are not all finite has no result, whatever was asked of it: no probability can
// be told from them. A row whose edits ban every token has none to sample. Both give kNoToken, NaN
// and no top tokens, and change nothing about the rows beside them. The slot's last token is then
// token 0, so that a step launched ahead has something to compute.
struct SampleResult {
  TokenId token = kNoToken;                                 // the sampled or the scored token
  float logprob = std::numeric_limits<float>::quiet_NaN();  // NaN unless requested; else finite
  std::vector<TokenLogprob> top;  // most probable first, ties: lowest id first
};

inline constexpr int32_t kMaxTopLogprobs = 20;

}  // namespace retnet

#endif  // RETNET_KERNELS_SAMPLING_H_
