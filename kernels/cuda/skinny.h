// y = x·Wᵀ for few rows (decode, drafts, logits): the weight is read once from DRAM, whatever the
// number of rows up to SkinnyMaxRows, and nothing else of its size moves.
//
// A block of 128 threads has 64 outputs and one of `splits` parts of k, which depend on the
// weight's shape alone. Each lane streams its own pieces of the weight through a ring in shared
// memory (cp.async, 32 KB a block, no barrier), and x comes in chunks that the block norms and
// rounds while the chunk before is multiplied. The block that is last to finish its 64 outputs adds
// up the parts in order of k and applies scale, activation and residual, so that the bits of a row
// depend on its row of x and the weight alone: sums never meet in an order of chance.
//   bf16  activations · norm weight rounded to bf16; mma.m16n8k16
//   fp16  activations · norm weight rounded to tf32 (fp16's precision with the range of fp32);
//         mma.m16n8k8
//   fp32  fused multiply-adds
// RMSNorm's scale multiplies the finished sums.
//
// ptxas for sm_80 and sm_90, no spills; dynamic shared memory in KB. Registers of sm_90 are at most
// 16 more.
//   rows        8        16       32       64
//   bf16    90, 48.9  108, 50  114, 52  136, 56
//   fp16    92, 64.3  104, 65  128, 65  180, 66
//   fp32   118, 64.3  168, 65
// so that a multiprocessor of an A100 holds two or three blocks, of an H100 three or four.
#ifndef RETNET_KERNELS_CUDA_SKINNY_H_
#define RETNET_KERNELS_CUDA_SKINNY_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/operands.h"
#include "kernels/tensor.h"

namespace retnet {

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

struct SkinnyProduct {
  ElementType type = ElementType::kFloat32;
  const std::byte* weight = nullptr;  // [outputs, stride_bytes], zeros behind `inputs`
  int64_t stride_bytes = 0;           // a multiple of 128, as the weight's address is
  int32_t outputs = 0;
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

cudaError_t LaunchSkinny(const SkinnyProduct& product, cudaStream_t stream);

}  // namespace retnet

#endif  // RETNET_KERNELS_CUDA_SKINNY_H_
