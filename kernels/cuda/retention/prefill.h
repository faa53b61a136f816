// Retention of prompt pieces by tensor cores.
#ifndef RETNET_KERNELS_CUDA_RETENTION_PREFILL_H_
#define RETNET_KERNELS_CUDA_RETENTION_PREFILL_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/retention/retention.h"

namespace retnet::cuda {

// The greatest key_dim that RetentionPrefill serves: a base's tile stays on the chip.
constexpr int32_t kMaxPrefillKeyDim = 256;
constexpr int32_t kPrefillColumns = 64;  // value columns of a block that walks a segment

// The segments of a launch, and what all of its kernels read.
struct PrefillArguments {
  const RetentionPiece* pieces;
  const int32_t* starts;
  RetentionInputs inputs;
  StatesView states;
  MatrixView<float> out;
};

// Queues the operator for segments of any numbers of rows and pieces, at most extent.pieces in one:
// four launches, of which each row's bits are independent of its piece and its neighbours. q, the
// decayed inner products and, for its product with q, the base are rounded to bf16.
cudaError_t RetentionPrefill(const PrefillArguments& arguments, const RetentionExtent& extent,
                             cudaStream_t stream);

// The launches, in their order.
// Rotated q and k, and v, as bf16 rows in scratch. 32 registers.
//   occupancy PrepareTokensKernel             256      0  8  8
cudaError_t PrepareTokens(const PrefillArguments& arguments, const RetentionExtent& extent,
                          cudaStream_t stream);
// γ^(t−j) q·k_j of each prepared row with its chunk's tokens, in scratch. A block does a piece
// and a head. 50 to 56 registers; shared memory 66 KiB for key_dim 256, 34 KiB for 128.
//   occupancy WeighRowsKernel<256>          128  67584  2  3
//   occupancy WeighRowsKernel<128>          128  34816  4  6
//   occupancy WeighRowsKernel<64>           128  18432  8  9
cudaError_t WeighRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                      cudaStream_t stream);
// Walks the pieces of each segment, folding as it goes; `out` not yet normed. A block does a
// segment, a head and kPrefillColumns columns. No spills; up to 128 registers, on sm_80 167 for heads
// of 256, of which shared memory holds one block.
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
// Head norm and gate in place; the last piece's k and v to the tail. 80 registers.
//   occupancy FinishRowsKernel              256      0  3  3
cudaError_t FinishRows(const PrefillArguments& arguments, const RetentionExtent& extent,
                       cudaStream_t stream);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_PREFILL_H_
