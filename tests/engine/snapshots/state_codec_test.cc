#include "engine/snapshots/state_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace retnet {
namespace {

std::vector<float> EncodedAndDecoded(const std::vector<float>& numbers, StateEncoding encoding) {
  const auto floats = static_cast<int64_t>(numbers.size());
  std::string bytes = "before";
  AppendEncodedState(std::as_bytes(std::span(numbers)), floats, encoding, &bytes);
  EXPECT_EQ(bytes.size(), 6 + EncodedFloatBytes(floats, encoding));
  std::vector<float> restored(numbers.size(), -1);
  DecodeState(std::string_view(bytes).substr(6), floats, encoding,
              std::as_writable_bytes(std::span(restored)));
  return restored;
}

TEST(StateCodec, Bf16RoundsToTheNearestAndTiesToEven) {
  const float step = 0x1p-7f;  // between neighbours from 1 on
  const std::vector<float> restored = EncodedAndDecoded(
      {1 + step / 2, 1 + 1.5f * step, 1 + 0.51f * step, -0.0f, 1e-40f}, StateEncoding::kBf16);
  EXPECT_EQ(restored[0], 1);
  EXPECT_EQ(restored[1], 1 + 2 * step);
  EXPECT_EQ(restored[2], 1 + step);
  EXPECT_TRUE(std::signbit(restored[3]));
  EXPECT_EQ(restored[4], 0x1p-133f) << "the least number of bf16 is the nearest";
}

TEST(StateCodec, Bf16KeepsWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> restored =
      EncodedAndDecoded({infinity, -infinity, nan}, StateEncoding::kBf16);
  EXPECT_EQ(restored[0], infinity);
  EXPECT_EQ(restored[1], -infinity);
  EXPECT_TRUE(std::isnan(restored[2]));
}

TEST(StateCodec, Int8ErrsByHalfAStepOfItsOwnBlockAtMost) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(5 * kInt8Block + 7);
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = normal(random) * std::pow(10.0f, static_cast<float>(i / kInt8Block) * 3 - 6);
  }
  const std::vector<float> restored = EncodedAndDecoded(numbers, StateEncoding::kInt8);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const size_t block = i / kInt8Block * kInt8Block;
    float greatest = 0;
    for (size_t j = block; j < std::min<size_t>(block + kInt8Block, numbers.size()); ++j) {
      greatest = std::max(greatest, std::fabs(numbers[j]));
    }
    EXPECT_LE(std::fabs(restored[i] - numbers[i]), greatest / 127 * 0.5001f) << i;
  }
}

TEST(StateCodec, Int8OfZerosIsZeros) {
  const std::vector<float> zeros(kInt8Block + 1, 0.0f);
  EXPECT_EQ(EncodedAndDecoded(zeros, StateEncoding::kInt8), zeros);
}

TEST(StateCodec, ExactTakesOddBytesToo) {
  std::vector<std::byte> state(11, std::byte{3});
  std::string bytes;
  AppendEncodedState(state, 2, StateEncoding::kBf16, &bytes);
  EXPECT_EQ(bytes.size(), 2 * 2 + 3);
  bytes.clear();
  AppendEncodedState(state, 2, StateEncoding::kExact, &bytes);
  std::vector<std::byte> restored(11);
  DecodeState(bytes, 2, StateEncoding::kExact, restored);
  EXPECT_EQ(restored, state);
}

}  // namespace
}  // namespace retnet
