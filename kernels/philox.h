// The counter-based random numbers of sampling, the same on every backend: Philox4x32-10 (Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), and Gumbel noise from its words.
#ifndef RETNET_KERNELS_PHILOX_H_
#define RETNET_KERNELS_PHILOX_H_

#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/tensor.h"

namespace retnet {

inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxKeyStep0 = 0x9E3779B9u;  // the fraction of the golden ratio
inline constexpr uint32_t kPhiloxKeyStep1 = 0xBB67AE85u;  // the fraction of the square root of 3

// Four random words, a pure function of the counter and the key.
constexpr std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter,
                                             std::array<uint32_t, 2> key) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t product0 = uint64_t{kPhiloxMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kPhiloxMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key = {key[0] + kPhiloxKeyStep0, key[1] + kPhiloxKeyStep1};
  }
  return counter;
}

// The random word of a token, x_i in kernels/sampling.h.
constexpr uint32_t RandomWord(uint64_t seed, uint64_t draw, TokenId token) {
  const uint32_t index = static_cast<uint32_t>(token);
  return Philox4x32({index / 4, static_cast<uint32_t>(draw), static_cast<uint32_t>(draw >> 32), 0},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)})[index % 4];
}

// The noise of a token, g_i in kernels/sampling.h. u has 33 bits, which a double holds exactly. So
// u is never 0 or 1, and the noise is at most −ln(−ln(1 − 2⁻³³)) = 33 ln 2.
inline double GumbelNoise(uint64_t seed, uint64_t draw, TokenId token) {
  const double uniform = (RandomWord(seed, draw, token) + 0.5) * 0x1p-32;
  return -std::log(-std::log(uniform));
}
inline constexpr double kGreatestGumbelNoise = 22.874;

}  // namespace retnet

#endif  // RETNET_KERNELS_PHILOX_H_
