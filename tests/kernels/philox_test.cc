#include "kernels/philox.h"

#include <array>
#include <cmath>
#include <cstdint>

#include "gtest/gtest.h"

namespace retnet {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers published with Random123 (file kat_vectors).
static_assert(Philox4x32({0, 0, 0, 0}, {0, 0}) ==
              Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                         {0xffffffff, 0xffffffff}) ==
              Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                         {0xa4093822, 0x299f31d0}) ==
              Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

TEST(RandomWord, IsTheWordOfTheTokensBlock) {
  const uint64_t seed = 0x299f31d0a4093822;
  const uint64_t draw = 0x13198a2e85a308d3;
  const Words words = Philox4x32({5, 0x85a308d3, 0x13198a2e, 0}, {0xa4093822, 0x299f31d0});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(RandomWord(seed, draw, 4 * 5 + i), words[i]);
}

TEST(GumbelNoise, OfTheGreatestWordIsItsBound) {
  const double noise = -std::log(-std::log((0xffffffff + 0.5) * 0x1p-32));
  EXPECT_LT(noise, kGreatestGumbelNoise);
  EXPECT_LT(kGreatestGumbelNoise - noise, 1e-3);
}

TEST(GumbelNoise, HasTheMomentsOfItsDistribution) {
  constexpr int kDraws = 100000;
  double sum = 0;
  double sum_of_squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double g = GumbelNoise(/*seed=*/1, /*draw=*/2, i);
    sum += g;
    sum_of_squares += g * g;
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(mean, 0.5772, 0.02);                                   // Euler's constant
  EXPECT_NEAR(sum_of_squares / kDraws - mean * mean, 1.6449, 0.05);  // π² / 6
}

}  // namespace
}  // namespace retnet
