#include "kernels/element.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/tensor.h"

namespace retnet {
namespace {

TEST(Float16, EveryFinitePatternHasTheValueOfItsFields) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = (bits >> 10) & 31;
    const int fraction = bits & 1023;
    if (exponent == 31) continue;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    const float value = FromFloat16(static_cast<uint16_t>(bits));
    ASSERT_EQ(value, bits & 0x8000 ? -magnitude : magnitude) << bits;
    ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
  }
}

TEST(Float16, KeepsInfinitiesAndNaN) {
  EXPECT_EQ(FromFloat16(0x7C00), std::numeric_limits<float>::infinity());
  EXPECT_EQ(FromFloat16(0xFC00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(FromFloat16(0x7E00)));
  EXPECT_TRUE(std::isnan(FromFloat16(0x7C01)));
}

TEST(ElementAt, ReadsEveryTypeAtOddAddresses) {
  const float value = -1.5f;
  std::vector<std::byte> bytes(1 + 3 * 4);
  std::memcpy(&bytes[1 + 4], &value, 4);
  EXPECT_EQ(ElementAt({ElementType::kFloat32, &bytes[1], 1, 2}, 1), value);
  const uint16_t bfloat16 = 0xBFC0;
  std::memcpy(&bytes[1 + 2], &bfloat16, 2);
  EXPECT_EQ(ElementAt({ElementType::kBFloat16, &bytes[1], 1, 2}, 1), value);
  const uint16_t float16 = 0xBE00;
  std::memcpy(&bytes[1 + 2], &float16, 2);
  EXPECT_EQ(ElementAt({ElementType::kFloat16, &bytes[1], 1, 2}, 1), value);
}

}  // namespace
}  // namespace retnet
