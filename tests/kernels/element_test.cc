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

// Checks the numbers halfway between two neighbours, and the numbers just below and above.
template <typename From, typename To>
void ExpectNearestEven(From from, To to, uint32_t greatest) {
  for (uint32_t bits = 0; bits < greatest; ++bits) {
    const auto lower = static_cast<uint16_t>(bits);
    const auto upper = static_cast<uint16_t>(bits + 1);
    const float middle = from(lower) + (from(upper) - from(lower)) / 2;
    ASSERT_EQ(to(from(lower)), lower);
    ASSERT_EQ(to(middle), bits % 2 == 0 ? lower : upper) << bits;
    ASSERT_EQ(to(std::nextafter(middle, 0.0f)), lower) << bits;
    ASSERT_EQ(to(std::nextafter(middle, from(upper))), upper) << bits;
    ASSERT_EQ(to(-middle), to(middle) | 0x8000) << bits;
  }
  ASSERT_EQ(to(from(static_cast<uint16_t>(greatest))), greatest);
  EXPECT_TRUE(std::isnan(from(to(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Float16, RoundsToTheNearestEvenWithinItsRange) {
  ExpectNearestEven(FromFloat16, ToFloat16, /*greatest=*/0x7BFF);
  EXPECT_EQ(ToFloat16(1e6f), 0x7BFF);
  EXPECT_EQ(ToFloat16(-std::numeric_limits<float>::infinity()), 0xFBFF);
}

TEST(BFloat16, RoundsToTheNearestEven) {
  ExpectNearestEven(FromBFloat16, ToBFloat16, /*greatest=*/0x7F7F);
  EXPECT_EQ(FromBFloat16(ToBFloat16(std::numeric_limits<float>::infinity())),
            std::numeric_limits<float>::infinity());
}

TEST(ElementAt, ReadsWhatSetElementStores) {
  for (const ElementType type :
       {ElementType::kFloat32, ElementType::kFloat16, ElementType::kBFloat16}) {
    std::vector<std::byte> bytes(1 + 3 * 4, std::byte{7});
    for (int64_t i = 0; i < 3; ++i) SetElement(1.5f * (i - 1), type, i, &bytes[1]);
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(ElementAt({type, &bytes[1], 1, 3}, i), 1.5f * (i - 1));
    }
  }
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
