// The register tiles against a double reference, for every target in one process.
#include "kernels/cpu/targets-inl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/cpu/tile_test.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace retnet::cpu {
namespace HWY_NAMESPACE {

auto MultiplyOfTarget() { return &MultiplyFloat32; }

}  // namespace HWY_NAMESPACE
}  // namespace retnet::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/cpu/instruction_sets.h"

namespace retnet::cpu {
namespace {

using Multiply = void (*)(const float*, int64_t, int64_t, Strips<const float>, int64_t, int64_t,
                          bool, Strips<float>);

std::vector<float> RandomFloats(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

class Tile : public testing::TestWithParam<InstructionSet> {
 protected:
  Multiply multiply_ = RETNET_FOR_INSTRUCTION_SET(GetParam(), MultiplyOfTarget);
  std::mt19937 random_{20};
};

TEST_P(Tile, AgreesWithDoubleInRowMajorAndStrips) {
  for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 64}) {
    for (int64_t strips : {1, 2, 3, 5}) {
      for (int64_t depth : {0, 1, 2, 7, 64}) {
        const int64_t columns = strips * kStripColumns;
        const int64_t a_stride = depth + 3;
        const std::vector<float> a = RandomFloats(rows * a_stride, random_);
        const std::vector<float> b = RandomFloats(depth * columns, random_);  // row-major
        std::vector<float> in_strips(b.size());
        for (int64_t k = 0; k < depth; ++k) {
          for (int64_t j = 0; j < columns; ++j) {
            in_strips[(j / 16 * depth + k) * 16 + j % 16] = b[k * columns + j];
          }
        }
        const std::vector<float> before = RandomFloats(rows * columns, random_);
        for (bool add : {false, true}) {
          std::vector<float> c = before, c2 = before;
          multiply_(a.data(), a_stride, rows, {b.data(), columns, kStripColumns}, strips, depth,
                    add, {c.data(), columns, kStripColumns});
          multiply_(a.data(), a_stride, rows,
                    {in_strips.data(), kStripColumns, depth * kStripColumns}, strips, depth, add,
                    {c2.data(), columns, kStripColumns});
          EXPECT_EQ(std::memcmp(c.data(), c2.data(), c.size() * sizeof(float)), 0);
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = 0; j < columns; ++j) {
              double sum = add ? before[i * columns + j] : 0.0;
              double magnitude = std::abs(sum);
              for (int64_t k = 0; k < depth; ++k) {
                const double term = double{a[i * a_stride + k]} * b[k * columns + j];
                sum += term;
                magnitude += std::abs(term);
              }
              ASSERT_LE(std::abs(c[i * columns + j] - sum), (depth + 2) * 0x1p-24 * magnitude)
                  << rows << " rows, depth " << depth << ", at " << i << ", " << j;
            }
          }
        }
      }
    }
  }
}

TEST_P(Tile, ARowHasTheSameBitsAloneAndAmongOthers) {
  const int64_t rows = 29, strips = 7, depth = 65, columns = strips * kStripColumns;
  const std::vector<float> a = RandomFloats(rows * depth, random_);
  const std::vector<float> b = RandomFloats(depth * columns, random_);
  const Strips<const float> b_view(b.data(), columns, kStripColumns);
  std::vector<float> all(rows * columns);
  multiply_(a.data(), depth, rows, b_view, strips, depth, /*add=*/false,
            {all.data(), columns, kStripColumns});
  for (int64_t count = 1; count <= 14; ++count) {
    std::vector<float> some(count * columns);
    multiply_(a.data() + 3 * depth, depth, count, b_view, strips, depth, /*add=*/false,
              {some.data(), columns, kStripColumns});
    EXPECT_EQ(std::memcmp(some.data(), all.data() + 3 * columns, some.size() * sizeof(float)), 0)
        << count << " rows";
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Tile, EveryInstructionSet(), TestNameOf);

}  // namespace
}  // namespace retnet::cpu
#endif  // HWY_ONCE
