#include <algorithm>

#include "kernels/ceil_divide.h"
#include "kernels/cuda/matmul/skinny.h"
#include "kernels/cuda/matmul/skinny_operands.cuh"
#include "kernels/cuda/matmul/skinny_sums.cuh"
#include "kernels/cuda/matmul/skinny_warp.cuh"
#include "kernels/cuda/runtime/launch.cuh"

namespace retnet::cuda {
namespace {

// Enough blocks to keep any device busy, and the fewest steps that are worth starting a block.
constexpr int64_t kBlocks = 256;
constexpr int64_t kLeastSteps = 4;

// The number of parts that k is split into.
int64_t Splits(int64_t tiles, int64_t stride_bytes) {
  const int64_t most = std::max<int64_t>(1, stride_bytes / kLine / kLeastSteps);
  return std::min(most, CeilDivide(kBlocks, tiles));
}

// The grid is (tiles of outputs, parts of k).
template <typename Warp, int kRows>
__global__ void __launch_bounds__(kSkinnyThreads, SkinnyShape<Warp, kRows>::kBlocks)
    Skinny(const __grid_constant__ SkinnyMatMul p) {
  using S = SkinnyShape<Warp, kRows>;
  using Staged = typename Warp::Staged;
  extern __shared__ uint4 ring[];
  auto* chunks = reinterpret_cast<Staged*>(reinterpret_cast<std::byte*>(ring) + S::kRingBytes);
  __shared__ float squares[kRows];
  __shared__ float scales[kRows];

  const int steps = static_cast<int>(p.stride_bytes / kLine);
  const int first = steps * static_cast<int>(blockIdx.y) / static_cast<int>(gridDim.y);
  const int end = steps * static_cast<int>(blockIdx.y + 1) / static_cast<int>(gridDim.y);
  WeightStream<S> weights(p, ring, first, end);  // may begin early: no kernel writes weights
  LetNextKernelBegin();
  AwaitEarlierKernels();
  ActivationChunks<Warp, kRows> x(p, end * S::kStepInputs);
  x.Load(first * S::kStepInputs);
  x.Store(chunks);
  __syncthreads();

  const int lane = threadIdx.x % 32, t = lane % 4;
  typename Warp::Tile tiles[kRows / 8][S::kTiles];
  for (int step = first, chunk = 0; step < end; ++chunk) {
    const int next = step + S::kChunkSteps;
    if (next < end) x.Load(next * S::kStepInputs);
    const Staged* factors = chunks + chunk % 2 * (kRows * S::kStride) + t * Warp::kInputs;
    for (const int chunk_end = min(next, end); step < chunk_end; ++step) {
      uint4 pieces[S::kTiles][kPieces];
      weights.Take(pieces);
      weights.Copy();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int i = 0; i < kRows / 8; ++i) {
          const Staged* rows = factors + i * 8 * S::kStride + half * (S::kStepInputs / 2);
#pragma unroll
          for (int j = 0; j < S::kTiles; ++j) {
            Warp::Multiply(pieces[j][half], pieces[j][2 + half], rows, S::kStride, tiles[i][j]);
          }
        }
      }
      factors += S::kStepInputs;
    }
    if (next < end) x.Store(chunks + (chunk + 1) % 2 * (kRows * S::kStride));
    __syncthreads();
  }

  // All steps have been taken from the ring, so its memory is free for the sums.
  auto* shared_sums = reinterpret_cast<float*>(ring);
  float* own = shared_sums + threadIdx.x / 32 * (S::kTiles * kTileOutputs) + lane / 4;
#pragma unroll
  for (int i = 0; i < kRows / 8; ++i) {
#pragma unroll
    for (int j = 0; j < S::kTiles; ++j) {
      const float4 total = Warp::Total(tiles[i][j]);
      float* rows = own + (8 * i + 2 * t) * S::kSumStride + j * kTileOutputs;
      rows[0] = total.x;
      rows[S::kSumStride] = total.y;
      rows[8] = total.z;
      rows[S::kSumStride + 8] = total.w;
    }
  }
  x.StoreSquares(squares);
  __syncthreads();

  SkinnySums<S> sums(p, shared_sums, squares);
  if (gridDim.y > 1 && !sums.Share(p.scratch.counters)) return;
  if (threadIdx.x < p.x.rows) {
    const float mean = sums.Squares(threadIdx.x) / static_cast<float>(p.inputs);
    scales[threadIdx.x] = p.normed ? 1.0f / sqrtf(mean + p.norm.epsilon) : 1.0f;
  }
  __syncthreads();
  WriteOutputs(p, sums, scales);
}

template <typename Warp, int kRows>
struct Kernel {
  static cudaError_t Allow() {
    return cudaFuncSetAttribute(Skinny<Warp, kRows>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                SkinnyShape<Warp, kRows>::kSharedBytes);
  }
  static cudaError_t Launch(const SkinnyMatMul& matmul, dim3 grid, KernelQueue queue) {
    return LaunchKernel(Skinny<Warp, kRows>,
                        {grid, kSkinnyThreads, SkinnyShape<Warp, kRows>::kSharedBytes}, queue,
                        matmul);
  }
};

// Launches the kernel for the smallest number of rows that is enough for the product.
template <typename Warp>
cudaError_t LaunchFor(const SkinnyMatMul& matmul, dim3 grid, KernelQueue queue) {
  if (matmul.x.rows <= 8) return Kernel<Warp, 8>::Launch(matmul, grid, queue);
  if (matmul.x.rows <= 16) return Kernel<Warp, 16>::Launch(matmul, grid, queue);
  if constexpr (Warp::kInputs == 8) {
    if (matmul.x.rows <= 32) return Kernel<Warp, 32>::Launch(matmul, grid, queue);
    if (matmul.x.rows <= 64) return Kernel<Warp, 64>::Launch(matmul, grid, queue);
  }
  return cudaErrorInvalidValue;
}

// The number of parts of k does not depend on the number of rows.
dim3 GridOf(const SkinnyMatMul& matmul) {
  const auto blocks = [&matmul](int outputs) {
    return CeilDivide(matmul.y.columns, BlockColumns(matmul.epilogue, outputs));
  };
  return dim3(static_cast<unsigned>(blocks(BlockOutputs(matmul.type, matmul.x.rows))),
              static_cast<unsigned>(Splits(blocks(kLeastBlockOutputs), matmul.stride_bytes)));
}

}  // namespace

int32_t SkinnyMaxRows(ElementType type) { return type == ElementType::kFloat32 ? 16 : 64; }

int64_t SkinnyTiles(int64_t outputs) {
  // With kGate, y has half as many columns and a tile covers half as many.
  return CeilDivide(CeilDivide(outputs, 2), kLeastBlockOutputs / 2);
}

int64_t SkinnyScratchFloats(int64_t outputs, int64_t stride_bytes, int64_t rows) {
  const int64_t tiles = SkinnyTiles(outputs);
  // A tile of 128 outputs takes the scratch of two tiles, also if it is the last one.
  return (tiles + tiles % 2) * Splits(tiles, stride_bytes) * rows * (kLeastBlockOutputs + 1);
}

cudaError_t AllowSkinnySharedMemory() {
  cudaError_t (*const allow[])() = {
      Kernel<BFloat16Warp, 8>::Allow,  Kernel<BFloat16Warp, 16>::Allow,
      Kernel<BFloat16Warp, 32>::Allow, Kernel<BFloat16Warp, 64>::Allow,
      Kernel<Float16Warp, 8>::Allow,   Kernel<Float16Warp, 16>::Allow,
      Kernel<Float16Warp, 32>::Allow,  Kernel<Float16Warp, 64>::Allow,
      Kernel<Float32Warp, 8>::Allow,   Kernel<Float32Warp, 16>::Allow};
  for (auto* one : allow) {
    if (const cudaError_t error = one(); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t SkinnyPtxVersion(int* version) {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, Skinny<BFloat16Warp, 8>);
  *version = error == cudaSuccess ? attributes.ptxVersion : 0;
  return error;
}

cudaError_t LaunchSkinny(const SkinnyMatMul& matmul, KernelQueue queue) {
  const dim3 grid = GridOf(matmul);
  switch (matmul.type) {
    case ElementType::kBFloat16:
      return LaunchFor<BFloat16Warp>(matmul, grid, queue);
    case ElementType::kFloat16:
      return LaunchFor<Float16Warp>(matmul, grid, queue);
    case ElementType::kFloat32:
      return LaunchFor<Float32Warp>(matmul, grid, queue);
  }
  return cudaErrorInvalidValue;
}

}  // namespace retnet::cuda
