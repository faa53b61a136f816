// How the sums of skinny.cu leave a block: the parts of k are added, and y is computed from them.
#ifndef RETNET_KERNELS_CUDA_MATMUL_SKINNY_SUMS_CUH_
#define RETNET_KERNELS_CUDA_MATMUL_SKINNY_SUMS_CUH_

#include <cstdint>

#include "kernels/cuda/matmul/skinny_operands.cuh"
#include "kernels/cuda/retention/gate.cuh"

namespace retnet::cuda {

// The sums of one tile over all of k. With one part of k they are in shared memory. With several,
// each block stores its part in scratch: the sums [tiles, splits, rows, kOutputs], followed by the
// sums of squares [tiles, splits, rows].
template <typename S>
class SkinnySums {
  static constexpr int kOutputs = S::kOutputs;

 public:
  __device__ SkinnySums(const SkinnyMatMul& p, const float* shared_sums,
                        const float* shared_squares)
      : shared_sums_(shared_sums), shared_squares_(shared_squares), rows_(p.x.rows) {
    const int64_t tile_rows = int64_t{gridDim.y} * rows_;
    sums_ = p.scratch.sums + blockIdx.x * tile_rows * kOutputs;
    squares_ = p.scratch.sums + gridDim.x * tile_rows * kOutputs + blockIdx.x * tile_rows;
  }

  // Stores the part of this block in scratch. Returns true to the last block of the tile: then all
  // parts are there.
  __device__ bool Share(uint32_t* counters) {
    __shared__ bool last;
    float* sums = sums_ + int64_t{blockIdx.y} * rows_ * kOutputs;
    for (int i = threadIdx.x; i < rows_ * (kOutputs / 4); i += kSkinnyThreads) {
      reinterpret_cast<float4*>(sums)[i] = SharedFour(i / (kOutputs / 4), i % (kOutputs / 4));
    }
    if (threadIdx.x < rows_)
      squares_[blockIdx.y * rows_ + threadIdx.x] = shared_squares_[threadIdx.x];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      last = atomicAdd(&counters[blockIdx.x], 1) == gridDim.y - 1;
      if (last) counters[blockIdx.x] = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
  }

  // Sums 4 · four to 4 · four + 3 of the tile, over all of k.
  __device__ float4 Four(int row, int four) const {
    if (gridDim.y == 1) return SharedFour(row, four);
    float4 total = make_float4(0, 0, 0, 0);
#pragma unroll 8
    for (int split = 0; split < gridDim.y; ++split) {
      const float* part = sums_ + (int64_t{split} * rows_ + row) * kOutputs + 4 * four;
      const float4 sum = __ldcg(reinterpret_cast<const float4*>(part));
      total.x += sum.x;
      total.y += sum.y;
      total.z += sum.z;
      total.w += sum.w;
    }
    return total;
  }

  __device__ float Squares(int row) const {
    if (gridDim.y == 1) return shared_squares_[row];
    float total = 0;
    for (int split = 0; split < gridDim.y; ++split) total += __ldcg(squares_ + split * rows_ + row);
    return total;
  }

 private:
  __device__ float4 SharedFour(int row, int four) const {
    return *reinterpret_cast<const float4*>(shared_sums_ + row * S::kSumStride + 4 * four);
  }

  const float* shared_sums_;     // [kRows, S::kSumStride]
  const float* shared_squares_;  // [kRows]
  const int rows_;
  float* sums_;
  float* squares_;
};

// Applies scale and epilogue to the sums of a tile and writes y.
template <typename S>
__device__ void WriteOutputs(const SkinnyMatMul& p, const SkinnySums<S>& sums,
                             const float* scales) {
  const int columns = BlockColumns(p.epilogue, S::kOutputs);
  const int fours = columns / 4;
  for (int i = threadIdx.x; i < p.x.rows * fours; i += kSkinnyThreads) {
    const int row = i / fours, four = i % fours;
    const float scale = scales[row];
    const float4 sum = sums.Four(row, four);
    float value[4] = {sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale};
    if (p.epilogue == SkinnyEpilogue::kGate) {
      const float4 up = sums.Four(row, fours + four);
      value[0] = Activate(p.activation, value[0]) * (up.x * scale);
      value[1] = Activate(p.activation, value[1]) * (up.y * scale);
      value[2] = Activate(p.activation, value[2]) * (up.z * scale);
      value[3] = Activate(p.activation, value[3]) * (up.w * scale);
    }
    const int column = blockIdx.x * columns + 4 * four;
    float* y = p.y.data + row * p.y.stride + column;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (column + j < p.y.columns) {
        y[j] = p.epilogue == SkinnyEpilogue::kAdd ? y[j] + value[j] : value[j];
      }
    }
  }
}

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_SKINNY_SUMS_CUH_
