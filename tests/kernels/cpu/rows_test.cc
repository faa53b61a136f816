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

// By their definitions, in double: x / (1 + e⁻ˣ), and x Φ(x) with the normal distribution's Φ.
double Activated(Activation activation, double x) {
  return activation == Activation::kSilu ? x / (1 + std::exp(-x))
                                         : x * 0.5 * std::erfc(-x * std::sqrt(0.5));
}

TEST_P(Rows, ActivationsAgreeWithDouble) {
  std::vector<float> z;
  for (float x = -90.0f; x < 90.0f; x += 0.00731f) z.push_back(x);
  for (float x = 1e-30f; x < 1.0f; x *= 3.0f) z.insert(z.end(), {x, -x});
  const std::vector<float> ones(z.size(), 1.0f);
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    std::vector<float> y(z.size());
    operators_.activate(activation, z.data(), ones.data(), z.size(), y.data());
    for (size_t i = 0; i < z.size(); ++i) {
      const double exact = Activated(activation, z[i]);
      // Below: as far as fp32 has normal numbers.
      ASSERT_LE(std::abs(y[i] - exact), 1e-6 * std::abs(exact) + 0x1p-120) << z[i];
    }
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
  constexpr float kBehind = 7.0f;  // what is behind a row stays
  for (const Activation activation : {Activation::kSilu, Activation::kGelu}) {
    for (int64_t columns : {1, 3, 16, 31, 100}) {
      const std::vector<float> gate = RandomFloats(columns), up = RandomFloats(columns);
      std::vector<float> y(columns + 20, kBehind), in_gate = gate, in_up = up;
      operators_.activate(activation, gate.data(), up.data(), columns, y.data());
      operators_.activate(activation, in_gate.data(), up.data(), columns, in_gate.data());
      operators_.activate(activation, gate.data(), in_up.data(), columns, in_up.data());
      for (int64_t i = 0; i < columns; ++i) {
        const double exact = Activated(activation, gate[i]) * up[i];
        ASSERT_LE(std::abs(y[i] - exact), 2e-6 * std::abs(exact)) << columns << ", " << i;
        ASSERT_EQ(in_gate[i], y[i]) << columns << ", " << i;
        ASSERT_EQ(in_up[i], y[i]) << columns << ", " << i;
      }
      for (int64_t i = columns; i < columns + 20; ++i) ASSERT_EQ(y[i], kBehind) << columns;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Rows, EveryInstructionSet(), TestNameOf);

}  // namespace
}  // namespace retnet::cpu
