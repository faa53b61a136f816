// y = x·Wᵀ for few rows (decode, drafts, logits): the weight is read once from DRAM, whatever the
// number of rows up to SkinnyMaxRows, and nothing else of its size moves.
//
// A block of 128 threads has 64 outputs, or 128 where more than 8 rows meet weights of bf16, and
// one of `splits` parts of k, which depend on the weight's shape alone. Each lane streams its own
// pieces of the weight through a ring in shared memory (cp.async, 32 KB a block, no barrier), and x
// comes in chunks that the block norms and rounds while the chunk before is multiplied. The block
// that is last to finish its outputs adds up the parts in order of k and applies scale,
// activation and residual, so that the bits of a row depend on its row of x and the weight alone:
// sums never meet in an order of chance.
//   bf16  activations · norm weight rounded to bf16; mma.m16n8k16
//   fp16  activations · norm weight rounded to tf32 (fp16's precision with the range of fp32);
//         mma.m16n8k8
//   fp32  fused multiply-adds
// RMSNorm's scale multiplies the finished sums.
//
// DRAM: the weight, x and y once, the floor. The cache also gives x to every tile and takes the
// parts, at most 7 MB for a 1.3B layer's products: over the floor of its 102 MB of weights, 4% more
// at 1 row, 29% at 8, 33% at 16, 65% at 32, 2.2 times as much at 64: docs/gpu.md.
//
// Registers, of sm_80 and of sm_90, and KB of dynamic shared memory; ptxas reports no spills.
//   rows            8             16             32             64
//   bf16   120 120 49.0  145 148 66.0  158 160 68.0  188 194 72.0
//   fp16   125 126 64.3  120 122 64.5  136 136 65.0  184 186 66.0
//   fp32   164 164 64.3  152 154 64.5
// 24 KB of weights are in flight for each block of a multiprocessor, 32 for blocks of 128 outputs.
// Checked by scripts/ptxas_report.sh: kernel, threads and dynamic shared bytes of a block, blocks
// that a multiprocessor of sm_80 and of sm_90 holds at least.
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

// Memory that products share, one after another on a stream.
struct SkinnyScratch {
  float* sums = nullptr;         // [SkinnyScratchFloats]
  uint32_t* counters = nullptr;  // [SkinnyTiles]; zero before and after each product
};

struct SkinnyMatMul {
  ElementType type = ElementType::kFloat32;
  const std::byte* weight = nullptr;  // rows of stride_bytes, zeros behind `inputs`
  int64_t stride_bytes = 0;           // a multiple of 128, as the weight's address is
  int32_t inputs = 0;
  MatrixView<const float> x;  // [rows, inputs], rows <= SkinnyMaxRows(type)
  bool normed = false;        // whether the factors are RMSNorm(x), else x
  Norm norm;
  SkinnyEpilogue epilogue = SkinnyEpilogue::kStore;
  Activation activation = Activation::kSilu;
  MatrixView<float> y;  // [rows, outputs, or half of them for kGate]
  SkinnyScratch scratch;
};

// Rows that one launch takes: 64, or 16 for fp32 weights.
int32_t SkinnyMaxRows(ElementType type);
// Of a weight with any epilogue: tiles of outputs, and the scratch for `rows` rows.
int64_t SkinnyTiles(int64_t outputs);
int64_t SkinnyScratchFloats(int64_t outputs, int64_t stride_bytes, int64_t rows);

// Once for the current device, before the first product: the kernels take more shared memory than
// is given unasked.
cudaError_t AllowSkinnySharedMemory();

cudaError_t LaunchSkinny(const SkinnyMatMul& matmul, KernelQueue queue);

// The architecture that the current device's code of the kernels was compiled for as PTX, 90 for
// compute_90. From there on they know how to await earlier kernels.
cudaError_t SkinnyPtxVersion(int* version);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_MATMUL_SKINNY_H_
