#include "tests/kernels/cuda/matmul/skinny_traffic.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/matmul/skinny.h"

namespace retnet::cuda {
namespace {

SkinnyMatMul Product(int32_t inputs, int64_t columns, SkinnyEpilogue epilogue, int64_t rows) {
  SkinnyMatMul product;
  product.type = ElementType::kBFloat16;
  product.stride_bytes = int64_t{inputs} * 2;
  product.inputs = inputs;
  product.x = MatrixView<const float>(nullptr, rows, inputs);
  product.epilogue = epilogue;
  product.y = MatrixView<float>(nullptr, rows, columns);
  return product;
}

// A layer of retnet-1.3B: q | k | v | g, out, gate and up, down.
std::vector<SkinnyTraffic> LayerTraffic(int64_t rows) {
  std::vector<SkinnyTraffic> layer;
  for (const SkinnyMatMul& product : {Product(2048, 12288, SkinnyEpilogue::kStore, rows),
                                      Product(4096, 2048, SkinnyEpilogue::kAdd, rows),
                                      Product(2048, 2816, SkinnyEpilogue::kGate, rows),
                                      Product(2816, 2048, SkinnyEpilogue::kAdd, rows)}) {
    layer.push_back(TrafficOf(product));
  }
  return layer;
}

int64_t Total(int64_t SkinnyTraffic::*bytes, int64_t rows) {
  int64_t total = 0;
  for (const SkinnyTraffic& traffic : LayerTraffic(rows)) total += traffic.*bytes;
  return total;
}

double OverTheFloor(int64_t SkinnyTraffic::*bytes, int64_t rows) {
  return static_cast<double>(Total(bytes, rows)) /
         static_cast<double>(Total(&SkinnyTraffic::floor, rows));
}

// Computed by hand for the four products: outputs, inputs, and columns of y, which kAdd also reads.
// A block has 64 outputs, or 128 from 9 rows on. k is split so that there are 256 blocks, but a
// part has at least 4 steps of 128 bytes, which is 256 inputs.
struct ByHand {
  int64_t outputs, inputs, y_columns;
  int64_t tiles_of_64, splits;
};
constexpr ByHand kLayer[] = {{12288, 2048, 12288, 192, 2},
                             {2048, 4096, 2 * 2048, 32, 8},
                             {5632, 2048, 2816, 88, 3},
                             {2048, 2816, 2 * 2048, 32, 8}};
constexpr int64_t kLayerWeights =
    2 * (int64_t{2048} * 12288 + 4096 * 2048 + 3 * 2048 * int64_t{2816});
constexpr int64_t kRows[] = {1, 8, 16, 32, 64};

TEST(SkinnyTraffic, IsThatOfTheLaunches) {
  for (const int64_t rows : kRows) {
    const std::vector<SkinnyTraffic> layer = LayerTraffic(rows);
    ASSERT_EQ(layer.size(), 4);
    for (int i = 0; i < 4; ++i) {
      SCOPED_TRACE(testing::Message() << rows << " rows, product " << i);
      const ByHand& hand = kLayer[i];
      const int64_t wide = rows > 8 ? 2 : 1;
      const int64_t tiles = hand.tiles_of_64 / wide;
      EXPECT_EQ(layer[i].tiles, tiles);
      EXPECT_EQ(layer[i].splits, hand.splits);
      const int64_t weight = hand.outputs * hand.inputs * 2;
      const int64_t x = rows * hand.inputs * 4, y = rows * hand.y_columns * 4;
      // Sums of a tile's outputs, and of the squares, of each part.
      const int64_t parts = tiles * hand.splits * rows * (64 * wide + 1) * 4;
      EXPECT_EQ(layer[i].weights, weight);
      EXPECT_EQ(layer[i].floor, weight + x + y);
      EXPECT_EQ(layer[i].once, weight + x + y);
      EXPECT_EQ(layer[i].requested, weight + tiles * x + y + 2 * parts);
      EXPECT_EQ(layer[i].kept, x + parts);
    }
  }
}

TEST(SkinnyTraffic, WeightsAreReadOnceWhateverTheRows) {
  for (int64_t rows : kRows) {
    EXPECT_EQ(Total(&SkinnyTraffic::weights, rows), kLayerWeights) << rows;
    EXPECT_GT(Total(&SkinnyTraffic::floor, rows), kLayerWeights) << rows;
  }
}

// The table of docs/gpu.md: what is read from memory if the second-level cache serves all repeated
// requests, and what all blocks request. The repeated part is a small share of any such cache (40
// MB on an A100, 50 MB on an H100).
TEST(SkinnyTraffic, BlocksRequestAFewTimesTheFloorThatMemoryGives) {
  struct {
    int64_t rows;
    double floor;  // MB
    double requested_over_floor;
    double kept;  // MB
  } const table[] = {{1, 102, 1.04, 0.1},
                     {8, 103, 1.29, 0.9},
                     {16, 104, 1.33, 1.7},
                     {32, 106, 1.65, 3.4},
                     {64, 110, 2.24, 6.9}};
  for (const auto& [rows, floor, requested, kept] : table) {
    SCOPED_TRACE(rows);
    EXPECT_NEAR(static_cast<double>(Total(&SkinnyTraffic::floor, rows)) / 1e6, floor, 0.5);
    EXPECT_EQ(OverTheFloor(&SkinnyTraffic::once, rows), 1);
    EXPECT_NEAR(OverTheFloor(&SkinnyTraffic::requested, rows), requested, 0.005);
    int64_t most = 0;
    for (const SkinnyTraffic& traffic : LayerTraffic(rows)) most = std::max(most, traffic.kept);
    EXPECT_NEAR(static_cast<double>(most) / 1e6, kept, 0.05);
  }
}

TEST(SkinnyTraffic, PaddingIsRequestedAndNotInTheFloor) {
  SkinnyMatMul product = Product(100, 10, SkinnyEpilogue::kStore, 2);
  product.stride_bytes = 256;
  const SkinnyTraffic traffic = TrafficOf(product);
  EXPECT_EQ(traffic.floor, 10 * 200 + 2 * 400 + 2 * 40);
  EXPECT_EQ(traffic.weights, 10 * 256);
  EXPECT_EQ(traffic.once, 10 * 256 + 2 * 400 + 2 * 40);
  EXPECT_EQ(traffic.requested, traffic.once);
}

}  // namespace
}  // namespace retnet::cuda
