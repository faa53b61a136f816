// What one row's logits are turned into on the device: a sampled token or the log-probability of a
// given one. Plain data; the formulas are the contract of every backend.
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
//   l ← l > 0 ? l / repetition : l · repetition   (Keskar et al., arXiv 1909.05858);   l ← l + add.
// `add` carries bias, frequency and presence penalties together; −infinity bans the token.
struct LogitEdit {
  TokenId token = 0;
  float repetition = 1.0f;
  float add = 0.0f;
};

// How a row chooses its token, after the edits:
//   temperature = 0: the greatest logit, the lowest id among equals;
//   else z = l / temperature. The tokens are put in descending order of z (ties: lowest id first).
//     1. Keep the first top_k (0: all).
//     2. Of those keep the fewest whose probabilities add up to top_p.
//     3. Of those keep the ones whose probability is at least min_p times the greatest one.
//     Probabilities are renormalised after each cut. The first token always stays.
//     4. Take argmax z_i + g_i, where
//          g_i = −ln(−ln u_i)      (Gumbel-max: this is a sample of softmax(z)),
//          u_i = (x_i + ½) · 2⁻³²,
//          x_i = word i mod 4 of Philox4x32-10 (Salmon et al., SC 2011)
//                with key `seed` and counter (i / 4, draw low, draw high, 0).
// So the token depends only on the logits, `seed` and `draw`, never on the batch or on the order
// of a sum.
// A NaN logit counts as −infinity and +infinity as the greatest finite number, before the edits and
// after; where all are −infinity, token 0 is taken.
struct Sampling {
  float temperature = 1.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  uint64_t seed = 0;
  uint64_t draw = 0;  // differs from token to token of one request
  // Each token at most once. Must stay valid until the step has been waited for.
  std::span<const LogitEdit> edits = {};
};

struct TokenLogprob {
  TokenId token = kNoToken;
  float logprob = 0.0f;

  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

// What is wanted of a row of logits. Log-probabilities are natural and of the model itself:
// log softmax of the logits before edits and temperature; −infinity for a logit that is or counts
// as −infinity. All tokens are inside the vocabulary.
struct SampleRequest {
  TokenId scored_token = kNoToken;  // a token: report its log-probability; kNoToken: sample one
  Sampling sampling = {};           // ignored when a token is given
  bool logprob = false;             // report the sampled token's log-probability too
  int32_t top_logprobs = 0;         // and the n most probable tokens, best first, ties by lowest id
};

struct SampleResult {
  TokenId token = kNoToken;                                 // the sampled or the given one
  float logprob = std::numeric_limits<float>::quiet_NaN();  // NaN unless asked for
  std::vector<TokenLogprob> top;
};

inline constexpr int32_t kMaxTopLogprobs = 20;

}  // namespace retnet

#endif  // RETNET_KERNELS_SAMPLING_H_
