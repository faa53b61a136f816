// Retention of pieces of few rows: decode rows and drafts.
#ifndef RETNET_KERNELS_CUDA_RETENTION_FEW_H_
#define RETNET_KERNELS_CUDA_RETENTION_FEW_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/retention.h"

namespace retnet {

// Queues a launch that does piece `piece` of each of `extent.segments` segments at `starts`, for
// every shape and any number of rows. A block computes some value columns of one head, reads its
// part of the base once for all rows (up to 8) of the piece, and folds it first where the piece
// says so; the last block of a kv head and segment to arrive does the head norm and gate and
// appends to the tail. The columns of a block are chosen so that one sequence fills the device; a
// row's bits do not depend on them.
cudaError_t RetainFew(const RetentionPiece* pieces, const int32_t* starts,
                      const RetentionExtent& extent, int32_t piece, const RetentionInputs& inputs,
                      const StatesView& states, MatrixView<float> out, cudaStream_t stream);

}  // namespace retnet

#endif  // RETNET_KERNELS_CUDA_RETENTION_FEW_H_
