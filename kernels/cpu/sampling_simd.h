// Passes over a row of logits, compiled for each instruction set.
#ifndef RETNET_KERNELS_CPU_SAMPLING_SIMD_H_
#define RETNET_KERNELS_CPU_SAMPLING_SIMD_H_

#include <cmath>
#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/philox.h"
#include "kernels/sampling.h"

namespace retnet::cpu {

// Rows are padded with −infinity to a multiple of this, so that no pass has a remainder.
inline constexpr int64_t kLogitsPadding = 64;

// In all functions, `size` is a multiple of kLogitsPadding and logits are finite or −infinity.
struct SamplingSimd {
  // Copies `columns` logits and pads them. Returns the greatest one, or NaN if not all are finite.
  float (*copy)(const float* from, int64_t columns, float* to);
  float (*greatest)(const float* logits, int64_t size);
  int64_t (*count_at_least)(const float* logits, int64_t size, float bound);
  // Writes the ids of the tokens in ascending order and returns their number. `tokens` must have
  // room for kLogitsPadding more ids than that.
  int64_t (*collect_at_least)(const float* logits, int64_t size, float bound, TokenId* tokens);
  // Σ exp((logit − greatest) / temperature). Blocks are summed in fp32, their sums added in double.
  double (*sum_of_exponentials)(const float* logits, int64_t size, float greatest,
                                float temperature);
  // Samples one of the tokens whose probability is at least min_p times the greatest one. fp32 only
  // excludes tokens that cannot win. The remaining ones are compared in double, so that the token
  // is the same on every instruction set. `first` is a token with the greatest logit.
  TokenId (*sample)(const float* logits, int64_t size, TokenId first, const Sampling& sampling);
};

SamplingSimd SamplingSimdFor(InstructionSet set);

// z = logit / temperature, relative to the greatest logit, in double.
inline double ScaledLogit(float logit, float greatest, float temperature) {
  return (double{logit} - greatest) / temperature;
}

// Whether a token's probability is at least min_p times the greatest one.
inline bool IsLikelyEnough(float logit, float greatest, const Sampling& sampling) {
  return !(std::exp(ScaledLogit(logit, greatest, sampling.temperature)) < double{sampling.min_p});
}

// z + g, the score whose maximum is sampled, in double.
inline double GumbelScore(float logit, float greatest, TokenId token, const Sampling& sampling) {
  return ScaledLogit(logit, greatest, sampling.temperature) +
         GumbelNoise(sampling.seed, sampling.draw, token);
}

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_SAMPLING_SIMD_H_
