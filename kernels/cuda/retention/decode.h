// Retention of pieces with few rows: decode rows and drafts.
#ifndef RETNET_KERNELS_CUDA_RETENTION_DECODE_H_
#define RETNET_KERNELS_CUDA_RETENTION_DECODE_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/retention/retention.h"

namespace retnet::cuda {

// The segments of a launch. Pointers are to device memory.
struct DecodeSegments {
  const RetentionPiece* pieces;
  const int32_t* starts;   // [segments + 1]
  const int32_t* readers;  // [segments], see DevicePlan
};

// Queues one launch for piece number `piece` of each of `extent.segments` segments. Works for every
// shape and any number of rows. Returns the error of the launch. A block computes some value
// columns of one head. If the piece folds, the block folds its part of the base first. It reads its
// part of the base once for all rows (up to kMostReaders) of the piece, or of the pieces that are
// read together. The blocks of a head divide the inner products q·k among them and exchange them
// through the L2 cache. The last block of a kv head applies the head norm and the gate, and appends
// to the tails.
//
// Blocks have 256 threads. Registers on sm_80 and sm_90, without spills: 80 with 32 columns (three
// blocks per SM), up to 111 and 112 with 64 columns, up to 116 and 112 with 128 columns, 122 with 8
// rows (two blocks per SM). Shared memory for key_dim 256: 2.3 KiB with 32 columns, 5.3 KiB with
// 128, 18 KiB with 8 rows. docs/gpu.md has the bytes that blocks request.
//   occupancy RetentionDecodeKernel<1,1,float>         256   2304  3  3
//   occupancy RetentionDecodeKernel<1,1,__nv_bfloat16> 256   2304  3  3
//   occupancy RetentionDecodeKernel<1,1,__half>        256   2304  3  3
//   occupancy RetentionDecodeKernel<1,2,float>         256   3328  2  2
//   occupancy RetentionDecodeKernel<1,2,__nv_bfloat16> 256   3328  2  2
//   occupancy RetentionDecodeKernel<1,2,__half>        256   3328  2  2
//   occupancy RetentionDecodeKernel<1,4,float>         256   5376  2  2
//   occupancy RetentionDecodeKernel<1,4,__nv_bfloat16> 256   5376  2  2
//   occupancy RetentionDecodeKernel<1,4,__half>        256   5376  2  2
//   occupancy RetentionDecodeKernel<8,1,float>         256  18432  2  2
//   occupancy RetentionDecodeKernel<8,1,__nv_bfloat16> 256  18432  2  2
//   occupancy RetentionDecodeKernel<8,1,__half>        256  18432  2  2
cudaError_t RetentionDecode(const DecodeSegments& segments, const RetentionExtent& extent,
                            int32_t piece, const RetentionInputs& inputs, const StatesView& states,
                            MatrixView<float> out, KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_DECODE_H_
