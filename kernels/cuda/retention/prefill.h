// Retention of prompt pieces on tensor cores.
#ifndef RETNET_KERNELS_CUDA_RETENTION_PREFILL_H_
#define RETNET_KERNELS_CUDA_RETENTION_PREFILL_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/retention/retention.h"

namespace retnet::cuda {

// The greatest key_dim that RetentionPrefill supports: it keeps a tile of the base in registers.
constexpr int32_t kMaxPrefillKeyDim = 256;
constexpr int32_t kPrefillColumns = 64;  // value columns of a block of RetainRows

// The segments of a call and the inputs of its kernels. Pointers are to device memory.
struct PrefillArguments {
  const RetentionPiece* pieces;
  const int32_t* starts;  // [segments + 1], see DevicePlan
  RetentionInputs inputs;
  StatesView states;
  MatrixView<float> out;
};

// Queues the operator for segments with any number of rows and at most extent.pieces pieces each:
// the four launches below. The bits of a row do not depend on its piece or on other rows. q and the
// decayed inner products are rounded to bf16. So is the base, but only for its product with q.
cudaError_t RetentionPrefill(const PrefillArguments& arguments, const RetentionExtent& extent,
                             cudaStream_t stream);

// The launches, in order. Each returns the error of its launch.

// Writes rotated q and k, and v, as bf16 rows to scratch (StatesView::prepared_…). 32 registers.
//   occupancy PrepareTokensKernel             256      0  8  8
cudaError_t PrepareTokens(const PrefillArguments& arguments, const RetentionExtent& extent,
                          cudaStream_t stream);
// Writes γ^(t−j) q·k_j of each prepared row and the tokens of its chunk to scratch. A block
// computes one piece and one head. 50 to 56 registers; 66 KiB of shared memory for key_dim 256, 34
// KiB for 128.
//   occupancy WeighRowsKernel<256>          128  67584  2  3
//   occupancy WeighRowsKernel<128>          128  34816  4  6
//   occupancy WeighRowsKernel<64>           128  18432  8  9
cudaError_t WeighRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                      cudaStream_t stream);
// Goes through the pieces of each segment in order, folds where they fold, and writes `out` without
// the norm. A block computes one segment, one head and kPrefillColumns columns. No spills. Up to
// 128 registers; on sm_80, heads of 256 use 167, because shared memory holds only one block of
// them.
//   occupancy RetainRowsKernel<256,float>         256  86016  1  2
//   occupancy RetainRowsKernel<256,__nv_bfloat16> 256  86016  1  2
//   occupancy RetainRowsKernel<256,__half>        256  86016  1  2
//   occupancy RetainRowsKernel<128,float>         256  53248  2  2
//   occupancy RetainRowsKernel<128,__nv_bfloat16> 256  53248  2  2
//   occupancy RetainRowsKernel<128,__half>        256  53248  2  2
//   occupancy RetainRowsKernel<64,float>          256  44032  2  2
//   occupancy RetainRowsKernel<64,__nv_bfloat16>  256  44032  2  2
//   occupancy RetainRowsKernel<64,__half>         256  44032  2  2
cudaError_t RetainRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                       cudaStream_t stream);
// Applies head norm and gate in place, and appends k and v of each segment's last piece to the
// tail. 80 registers.
//   occupancy FinishRowsKernel              256      0  3  3
cudaError_t FinishRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                       cudaStream_t stream);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_PREFILL_H_
