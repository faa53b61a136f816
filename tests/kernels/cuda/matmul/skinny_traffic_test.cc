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

constexpr int64_t kLayerWeights =
    2 * (int64_t{2048} * 12288 + 4096 * 2048 + 3 * 2048 * int64_t{2816});
constexpr int64_t kRows[] = {1, 8, 16, 32, 64};

TEST(SkinnyTraffic, WeightsAreReadOnceWhateverTheRows) {
  for (int64_t rows : kRows) {
    EXPECT_EQ(Total(&SkinnyTraffic::weights, rows), kLayerWeights) << rows;
    EXPECT_GT(Total(&SkinnyTraffic::floor, rows), kLayerWeights) << rows;
  }
}

// What memory gives when the second-level cache keeps what a launch asks for again, which is little
// of any: 40 MB on an A100, 50 on an H100.
TEST(SkinnyTraffic, MemoryGivesLittleMoreThanTheFloor) {
  for (int64_t rows : kRows) {
    EXPECT_LE(OverTheFloor(&SkinnyTraffic::once, rows), 1.15) << rows;
    for (const SkinnyTraffic& traffic : LayerTraffic(rows)) EXPECT_LE(traffic.kept, 7'000'000);
  }
}

// As if the cache kept nothing; by it, a bound of what the cache itself has to give.
TEST(SkinnyTraffic, BlocksRequestAFewTimesTheFloor) {
  EXPECT_LE(OverTheFloor(&SkinnyTraffic::requested, 1), 1.05);
  EXPECT_LE(OverTheFloor(&SkinnyTraffic::requested, 8), 1.3);
  EXPECT_LE(OverTheFloor(&SkinnyTraffic::requested, 16), 1.35);
  EXPECT_LE(OverTheFloor(&SkinnyTraffic::requested, 32), 1.66);
  EXPECT_LE(OverTheFloor(&SkinnyTraffic::requested, 64), 2.25);
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
