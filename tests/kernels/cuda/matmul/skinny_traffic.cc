#include "tests/kernels/cuda/matmul/skinny_traffic.h"

#include <vector>

#include "gtest/gtest.h"
#include "kernels/ceil_divide.h"
#include "tests/kernels/cuda/recorded_launches.h"

namespace retnet::cuda {

SkinnyTraffic TrafficOf(const SkinnyMatMul& matmul) {
  const std::vector<dim3> grids =
      RecordedGrids([&] { return LaunchSkinny(matmul, cudaStream_t{nullptr}); });
  EXPECT_EQ(grids.size(), 1);
  SkinnyTraffic traffic{.tiles = grids.at(0).x, .splits = grids.at(0).y};
  const int64_t rows = matmul.x.rows;
  const int64_t outputs = matmul.y.columns * (matmul.epilogue == SkinnyEpilogue::kGate ? 2 : 1);
  const int64_t x = rows * matmul.inputs * int64_t{sizeof(float)};
  const int64_t y = rows * matmul.y.columns * int64_t{sizeof(float)} *
                    (matmul.epilogue == SkinnyEpilogue::kAdd ? 2 : 1);
  // A block has 64 or 128 outputs: the number that gives this many tiles. Each part of k is written
  // by its block and read by the last block of the tile.
  const int64_t part = (CeilDivide(outputs, 64) == traffic.tiles ? 64 : 128) + 1;
  const int64_t parts = traffic.splits == 1
                            ? 0
                            : traffic.tiles * traffic.splits * rows * part * int64_t{sizeof(float)};
  const int64_t element = matmul.type == ElementType::kFloat32 ? 4 : 2;
  traffic.floor = outputs * matmul.inputs * element + x + y;
  traffic.weights = outputs * matmul.stride_bytes;
  traffic.once = traffic.weights + x + y;
  traffic.requested = traffic.weights + traffic.tiles * x + y + 2 * parts;
  traffic.kept = x + parts;
  return traffic;
}

}  // namespace retnet::cuda
