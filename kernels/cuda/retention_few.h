// Retention of pieces of few rows: decode rows and drafts.
#ifndef RETNET_KERNELS_CUDA_RETENTION_FEW_H_
#define RETNET_KERNELS_CUDA_RETENTION_FEW_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/retention.h"

namespace retnet {

// The value columns of a block that decodes one row, of so many segments: few enough for one
// sequence to fill the device, more where there are blocks enough without, since blocks of a head
// repeat its inner products. Bits do not depend on them.
int32_t FewColumns(const RetentionShape& shape, int32_t segments);

// Queues a launch that does piece `piece` of each of `extent.segments` segments at `starts`, for
// every shape and any number of rows. A block computes some value columns of one head, reads its
// part of the base once for all rows (up to 8) of the piece, and folds it first where the piece
// says so; the last block of a kv head and segment to arrive does the head norm and gate and
// appends to the tail.
//
// 256 threads; registers on sm_80 and sm_90, no spills: blocks of 32 columns 80 (three on an SM),
// 64 columns 91 and 95, 128 columns 119 and 114, 8 rows 128 (two on an SM). Shared memory for
// key_dim 256: 2.3 KiB at 32 columns, 5.3 KiB at 128, 18 KiB for 8 rows. Bytes:
// retention_traffic.h.
//   occupancy RetainFewKernel<1,1>          256   2304  3  3
//   occupancy RetainFewKernel<1,2>          256   3328  2  2
//   occupancy RetainFewKernel<1,4>          256   5376  2  2
//   occupancy RetainFewKernel<8,1>          256  18432  2  2
cudaError_t RetainFew(const RetentionPiece* pieces, const int32_t* starts,
                      const RetentionExtent& extent, int32_t piece, const RetentionInputs& inputs,
                      const StatesView& states, MatrixView<float> out, KernelQueue queue);

}  // namespace retnet

#endif  // RETNET_KERNELS_CUDA_RETENTION_FEW_H_
