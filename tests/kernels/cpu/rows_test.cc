#include "kernels/cpu/rows.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/element.h"
#include "tests/kernels/cpu/instruction_sets.h"

namespace retnet::cpu {
namespace {

class Rows : public testing::TestWithParam<InstructionSet> {
 protected:
  std::vector<float> RandomFloats(int64_t count) {
    std::normal_distribution<float> normal(0.0f, 2.0f);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    return values;
  }

  const RowOperators operators_ = RowOperatorsFor(GetParam());
  std::mt19937 random_{21};
};

TEST_P(Rows, NormalizeAgreesWithDoubleAlsoInPlace) {
  for (int64_t columns : {1, 2, 15, 16, 17, 63, 64, 65, 192, 1000, 5632}) {
    const std::vector<float> x = RandomFloats(columns), weight = RandomFloats(columns);
    for (const float* w : {static_cast<const float*>(nullptr), weight.data()}) {
      double squares = 0;
      for (float value : x) squares += double{value} * value;
      const double scale = 1.0 / std::sqrt(squares / columns + 1e-5);
      std::vector<float> y = x;
      operators_.normalize(y.data(), columns, Norm{.weight = w, .epsilon = 1e-5f}, y.data());
      for (int64_t i = 0; i < columns; ++i) {
        const double expected = x[i] * scale * (w == nullptr ? 1.0 : w[i]);
        ASSERT_LE(std::abs(y[i] - expected), 1e-5 * std::abs(expected)) << columns << ", " << i;
      }
    }
  }
}

TEST_P(Rows, PreparedRowsAreTheNormalizedOnesInBlocks) {
  for (int64_t columns : {int64_t{1}, int64_t{7}, kBlockDepth - 1, kBlockDepth, kBlockDepth + 1,
                          2 * kBlockDepth + 1, int64_t{1300}}) {
    const std::vector<float> x = RandomFloats(columns), weight = RandomFloats(columns);
    const Norm norm{.weight = weight.data(), .epsilon = 1e-6f};
    std::vector<float> normalized(columns);
    operators_.normalize(x.data(), columns, norm, normalized.data());
    std::vector<uint32_t> words(PackedActivations::Words(3, columns), 0xFFFFFFFFu);
    const PackedActivations activations(words.data(), 3, columns);
    const PackedActivations pairs(words.data(), 3, (columns + 1) / 2);
    for (const Norm* norm_or_null : {static_cast<const Norm*>(nullptr), &norm}) {
      const std::vector<float>& expected = norm_or_null == nullptr ? x : normalized;
      operators_.prepare_float32(x.data(), columns, norm_or_null, activations, 1);
      for (int64_t i = 0; i < columns; ++i) {
        ASSERT_EQ(activations.block<float>(i / kBlockDepth)[kBlockStride + i % kBlockDepth],
                  expected[i]);
      }
      operators_.prepare_bfloat16_pairs(x.data(), columns, norm_or_null, pairs, 1);
      for (int64_t i = 0; i < columns + columns % 2; ++i) {
        const uint32_t pair =
            pairs.block<uint32_t>(i / 2 / kBlockDepth)[kBlockStride + i / 2 % kBlockDepth];
        const float rounded = FromBFloat16(static_cast<uint16_t>(i % 2 == 0 ? pair : pair >> 16));
        const float exact = i < columns ? expected[i] : 0.0f;
        ASSERT_LE(std::abs(rounded - exact), std::abs(exact) * 0x1p-8f);
      }
    }
  }
}

TEST_P(Rows, BFloat16RoundsToNearestEvenAndKeepsNaN) {
  const auto rounded = [&](uint32_t bits) -> uint32_t {
    uint32_t words[kBlockStride];
    const PackedActivations to(words, 1, 1);
    const float x[2] = {std::bit_cast<float>(bits), 0.0f};
    operators_.prepare_bfloat16_pairs(x, 2, nullptr, to, 0);
    return words[0];
  };
  EXPECT_EQ(rounded(0x3F808000), 0x3F80u);  // half way: down to even
  EXPECT_EQ(rounded(0x3F818000), 0x3F82u);  // half way: up to even
  EXPECT_EQ(rounded(0x3F808001), 0x3F81u);
  EXPECT_EQ(rounded(0xBF807FFF), 0xBF80u);
  EXPECT_EQ(rounded(0x7F7FFFFF), 0x7F80u);  // the greatest number: to infinity
  EXPECT_EQ(rounded(0xFF800000), 0xFF80u);
  EXPECT_TRUE(std::isnan(FromBFloat16(static_cast<uint16_t>(rounded(0x7FFFFFFF)))));
  EXPECT_TRUE(std::isnan(FromBFloat16(static_cast<uint16_t>(rounded(0x7F800001)))));
}

TEST_P(Rows, ActivationsAgreeWithDouble) {
  std::vector<float> z;
  for (float x = -90.0f; x < 90.0f; x += 0.00731f) z.push_back(x);
  for (float x = 1e-30f; x < 1.0f; x *= 3.0f) z.insert(z.end(), {x, -x});
  const std::vector<float> ones(z.size(), 1.0f);
  std::vector<float> silu(z.size()), gelu(z.size());
  operators_.activate(Activation::kSilu, z.data(), ones.data(), z.size(), silu.data());
  operators_.activate(Activation::kGelu, z.data(), ones.data(), z.size(), gelu.data());
  for (size_t i = 0; i < z.size(); ++i) {
    const double x = z[i];
    const double exact_silu = x / (1 + std::exp(-x));
    const double exact_gelu = x * 0.5 * std::erfc(-x * std::sqrt(0.5));
    // Below: as far as fp32 has normal numbers.
    ASSERT_LE(std::abs(silu[i] - exact_silu), 1e-6 * std::abs(exact_silu) + 0x1p-120) << x;
    ASSERT_LE(std::abs(gelu[i] - exact_gelu), 1e-6 * std::abs(exact_gelu) + 0x1p-120) << x;
  }
}

TEST_P(Rows, ActivationsKeepWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float z[3] = {infinity, std::numeric_limits<float>::quiet_NaN(), -1e30f};
  const float ones[3] = {1.0f, 1.0f, 1.0f};
  for (Activation activation : {Activation::kSilu, Activation::kGelu}) {
    float y[3];
    operators_.activate(activation, z, ones, 3, y);
    EXPECT_EQ(y[0], infinity);
    EXPECT_TRUE(std::isnan(y[1]));
    EXPECT_LE(std::abs(y[2]), 1e-6f);
  }
}

TEST_P(Rows, ActivateMultipliesByUpForAnyNumberOfColumns) {
  for (int64_t columns : {1, 3, 16, 31, 100}) {
    const std::vector<float> gate = RandomFloats(columns), up = RandomFloats(columns);
    const std::vector<float> ones(columns, 1.0f);
    std::vector<float> activated(columns), y = up;
    operators_.activate(Activation::kSilu, gate.data(), ones.data(), columns, activated.data());
    operators_.activate(Activation::kSilu, gate.data(), y.data(), columns, y.data());
    for (int64_t i = 0; i < columns; ++i) ASSERT_EQ(y[i], activated[i] * up[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Rows, EveryInstructionSet(), TestNameOf);

}  // namespace
}  // namespace retnet::cpu
