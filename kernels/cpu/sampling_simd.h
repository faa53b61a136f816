// Passes over a row of logits, compiled for each instruction set.
#ifndef RETNET_KERNELS_CPU_SAMPLING_SIMD_H_
#define RETNET_KERNELS_CPU_SAMPLING_SIMD_H_

#include <cmath>
#include <cstdint>

#include "kernels/cpu/instruction_set.h"
#include "kernels/philox.h"
#include "kernels/sampling.h"

namespace retnet::cpu {

// A row is padded with −infinity to a multiple of this, so that no pass has a remainder.
inline constexpr int64_t kLogitsPadding = 64;

// In all of them `size` is a multiple of kLogitsPadding and logits are finite or −infinity.
struct SamplingSimd {
  // Copies `columns` logits of any values as kernels/sampling.h counts those that are not finite,
  // and pads them; returns the greatest.
  float (*copy_finite)(const float* from, int64_t columns, float* to);
  float (*greatest)(const float* logits, int64_t size);
  int64_t (*count_at_least)(const float* logits, int64_t size, float bound);
  // The ids in ascending order; `tokens` has room for kLogitsPadding more than there are.
  int64_t (*collect_at_least)(const float* logits, int64_t size, float bound, TokenId* tokens);
  // Σ exp((logit − greatest) / temperature), in blocks of fp32 that are added in double.
  double (*sum_of_exponentials)(const float* logits, int64_t size, float greatest,
                                float temperature);
  // The token to sample of all whose probability is at least min_p times the greatest one. fp32
  // only decides which tokens cannot be it; the others are compared in double, so that the token is
  // the same on every instruction set. `first` is a token with the greatest logit.
  TokenId (*sample)(const float* logits, int64_t size, TokenId first, const Sampling& sampling);
};

SamplingSimd SamplingSimdFor(InstructionSet set);

// The scores that decide, in double: z = logit / temperature, less that of the greatest logit.
inline double ScaledLogit(float logit, float greatest, float temperature) {
  return (double{logit} - greatest) / temperature;
}

// Whether a token's probability is at least min_p times the greatest one.
inline bool IsLikelyEnough(float logit, float greatest, const Sampling& sampling) {
  return !(std::exp(ScaledLogit(logit, greatest, sampling.temperature)) < double{sampling.min_p});
}

// z + g.
inline double GumbelScore(float logit, float greatest, TokenId token, const Sampling& sampling) {
  return ScaledLogit(logit, greatest, sampling.temperature) +
         GumbelNoise(sampling.seed, sampling.draw, token);
}

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_SAMPLING_SIMD_H_
