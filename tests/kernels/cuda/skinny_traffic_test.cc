#include <cstdint>

#include "gtest/gtest.h"
#include "kernels/cuda/skinny.h"

namespace retnet {
namespace {

SkinnyProduct Product(int32_t inputs, int64_t columns, SkinnyEpilogue epilogue, int64_t rows) {
  SkinnyProduct product;
  product.type = ElementType::kBFloat16;
  product.stride_bytes = int64_t{inputs} * 2;
  product.inputs = inputs;
  product.x = MatrixView<const float>(nullptr, rows, inputs);
  product.epilogue = epilogue;
  product.y = MatrixView<float>(nullptr, rows, columns);
  return product;
}

// A layer of retnet-1.3B: q | k | v | g, out, gate and up, down.
SkinnyTraffic LayerTraffic(int64_t rows) {
  SkinnyTraffic sum;
  for (const SkinnyProduct& product : {Product(2048, 12288, SkinnyEpilogue::kStore, rows),
                                       Product(4096, 2048, SkinnyEpilogue::kAdd, rows),
                                       Product(2048, 2816, SkinnyEpilogue::kGate, rows),
                                       Product(2816, 2048, SkinnyEpilogue::kAdd, rows)}) {
    const SkinnyTraffic traffic = TrafficOf(product);
    sum.floor += traffic.floor;
    sum.weights += traffic.weights;
    sum.requested += traffic.requested;
  }
  return sum;
}

double Share(SkinnyTraffic traffic) {
  return static_cast<double>(traffic.requested) / static_cast<double>(traffic.floor);
}

constexpr int64_t kLayerWeights =
    2 * (int64_t{2048} * 12288 + 4096 * 2048 + 3 * 2048 * int64_t{2816});

TEST(SkinnyTraffic, WeightsAreReadOnceWhateverTheRows) {
  for (int64_t rows : {1, 8, 64}) {
    EXPECT_EQ(LayerTraffic(rows).weights, kLayerWeights) << rows;
    EXPECT_GT(LayerTraffic(rows).floor, kLayerWeights) << rows;
  }
}

TEST(SkinnyTraffic, OneRowRequestsLittleMoreThanTheFloor) {
  EXPECT_LE(Share(LayerTraffic(1)), 1.15);
}

// Every tile of outputs reads all of x, from the L2 cache: docs/gpu.md.
TEST(SkinnyTraffic, ManyRowsRepeatWhatTheCacheHolds) {
  EXPECT_LE(Share(LayerTraffic(8)), 1.4);
  EXPECT_LE(Share(LayerTraffic(64)), 3.5);
}

TEST(SkinnyTraffic, PaddingIsRequestedAndNotInTheFloor) {
  SkinnyProduct product = Product(100, 10, SkinnyEpilogue::kStore, 2);
  product.stride_bytes = 256;
  const SkinnyTraffic traffic = TrafficOf(product);
  EXPECT_EQ(traffic.floor, 10 * 200 + 2 * 400 + 2 * 40);
  EXPECT_EQ(traffic.weights, 10 * 256);
  EXPECT_EQ(traffic.requested, 10 * 256 + 2 * 400 + 2 * 40);
}

}  // namespace
}  // namespace retnet
