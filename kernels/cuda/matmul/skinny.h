// y = x·Wᵀ for few rows (decode, drafts, logits). For up to SkinnyMaxRows rows, the weight is read
// from DRAM once, and no other traffic has the size of the weight.
//
// A block of 128 threads computes 64 outputs, or 128 if more than 8 rows meet a bf16 weight, over
// one of several parts of k. The number of parts depends only on the shape of the weight. Each lane
// streams its own pieces of the weight through a ring in shared memory (cp.async, 32 KB per block,
// no barrier). x arrives in chunks: the block norms and rounds a chunk while it multiplies the
// previous one. The last block to finish a tile of outputs adds up the parts in ascending order of
// k and applies scale, activation and residual. So the order of the additions is fixed, and the
// bits of a row depend only on its row of x and the weight.
//   bf16  activations · norm weight, rounded to bf16; mma.m16n8k16
//   fp16  activations · norm weight, rounded to tf32 (the precision of fp16, the range of fp32);
//         mma.m16n8k8
//   fp32  fused multiply-adds
// The scale of RMSNorm multiplies the finished sums.
//
// DRAM traffic is the floor: the weight, x and y once. In addition, every tile reads x from the
// cache, and the parts of k go through the cache: at most 7 MB for the products of a 1.3B layer.
// What all blocks request, compared with the floor (102 MB of weights): 4% more at 1 row, 29% at 8,
// 33% at 16, 65% at 32, 2.2 times as much at 64 (docs/gpu.md).
//
// Registers on sm_80 and sm_90, and KB of dynamic shared memory. ptxas reports no spills.
//   rows            8             16             32             64
//   bf16   120 120 49.0  145 148 66.0  158 160 68.0  188 194 72.0
//   fp16   125 126 64.3  120 122 64.5  136 136 65.0  184 186 66.0
//   fp32   164 164 64.3  152 154 64.5
// Each block has 24 KB of weights in flight, 32 KB with 128 outputs.
// scripts/ptxas_report.sh checks these lines: kernel, threads per block, bytes of dynamic shared
// memory per block, and the least number of blocks per multiprocessor on sm_80 and sm_90.
//   occupancy Skinny<BFloat16Warp,8>        128  50176  3  4
//   occupancy Skinny<BFloat16Warp,16>       128  67584  2  3
//   occupancy Skinny<BFloat16Warp,32>       128  69632  2  3
//   occupancy Skinny<BFloat16Warp,64>       128  73728  2  2
//   occupancy Skinny<Float16Warp,8>         128  65792  2  3
//   occupancy Skinny<Float16Warp,16>        128  66048  2  3
//   occupancy Skinny<Float16Warp,32>        128  66560  2  3
//   occupancy Skinny<Float16Warp,64>        128  67584  2  2
//   occupancy Skinny<Float32Warp,8>         128  65792  2  3
//   occupancy Skinny<Float32Warp,16>        128  66048  2  3
#ifndef RETNET_KERNELS_CUDA_MATMUL_SKINNY_H_
#define RETNET_KERNELS_CUDA_MATMUL_SKINNY_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/operands.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

enum class SkinnyEpilogue {
  kStore,  // y = product
  kAdd,    // y += product
  kGate,   // y = activation(gate) ⊙ up; the weight's first half is gate, its second up
};

// Scratch in device memory. Products on the same stream may share it.
struct SkinnyScratch {
  float* sums = nullptr;         // [SkinnyScratchFloats]
  uint32_t* counters = nullptr;  // [SkinnyTiles]; zero before and after each product
};

struct SkinnyMatMul {
  ElementType type = ElementType::kFloat32;
  const std::byte* weight = nullptr;  // rows of stride_bytes, zero after `inputs`; 128-byte aligned
  int64_t stride_bytes = 0;           // a multiple of 128
  int32_t inputs = 0;
  MatrixView<const float> x;  // [rows, inputs], rows <= SkinnyMaxRows(type)
  bool normed = false;        // multiply by RMSNorm(x) instead of x
  Norm norm;
  SkinnyEpilogue epilogue = SkinnyEpilogue::kStore;
  Activation activation = Activation::kSilu;
  MatrixView<float> y;  // [rows, outputs], or [rows, outputs / 2] for kGate
  SkinnyScratch scratch;
};

// The most rows of one launch: 64, or 16 for fp32 weights.
int32_t SkinnyMaxRows(ElementType type);
// The sizes of the scratch for any epilogue: the number of tiles of outputs, and the floats for
// `rows` rows.
int64_t SkinnyTiles(int64_t outputs);
int64_t SkinnyScratchFloats(int64_t outputs, int64_t stride_bytes, int64_t rows);

// Must be called once for the current device before the first product. The kernels need more
// dynamic shared memory than CUDA allows by default.
cudaError_t AllowSkinnySharedMemory();

// Queues the product. Returns the error of the launch.
cudaError_t LaunchSkinny(const SkinnyMatMul& matmul, KernelQueue queue);

// The PTX architecture of the kernels' code on the current device; 90 means compute_90. From 90 on,
// kernels can wait for earlier kernels (runtime/launch.cuh).
cudaError_t SkinnyPtxVersion(int* version);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_SKINNY_H_
